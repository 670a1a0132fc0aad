//! A template archive that breaks a rule is refused, and publishes nothing.

use conductor_acceptance::{Stack, TINY, template_zip, unique, zip_of, zip_with_symlink};
use reqwest::Method;

const FOUR_MIB: usize = 4 << 20;
const BACKEND: &str = "terraform {\n  backend \"s3\" {}\n}\n";
const BACKEND_IN_JSON: &str = r#"{"terraform": {"backend": {"s3": {}}}}"#;

/// Bytes that do not get smaller in an archive; the same each time.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..size).map(|_| next()).collect()
}

/// An archive of so many files, one of them a good template.
fn of_files(count: usize) -> Vec<u8> {
    let names: Vec<_> = (1..count).map(|i| format!("f{i}")).collect();
    let rest = names.iter().map(|name| (name.as_str(), &b""[..]));
    zip_of(std::iter::once(("main.tf", TINY.as_bytes())).chain(rest))
}

fn with_main(main: &str) -> Vec<u8> {
    template_zip(&[("main.tf", main)])
}

#[tokio::test]
async fn an_archive_that_breaks_a_rule_is_refused_with_the_rule() {
    let stack = Stack::load();
    let spaces = " ".repeat(FOUR_MIB);
    for (what, archive, rule) in [
        ("no zip", b"hello".to_vec(), "template_not_a_zip"),
        ("nothing", Vec::new(), "template_not_a_zip"),
        ("a path with ..", template_zip(&[("main.tf", TINY), ("../evil.tf", TINY)]), "template_unsafe_path"),
        (
            "a path with .. inside",
            template_zip(&[("main.tf", TINY), ("a/../../evil.tf", TINY)]),
            "template_unsafe_path",
        ),
        ("an absolute path", template_zip(&[("main.tf", TINY), ("/etc/evil.tf", TINY)]), "template_unsafe_path"),
        ("a symlink", zip_with_symlink(TINY), "template_symlink"),
        ("10,000 files", of_files(10_000), "template_too_many_files"),
        ("a ratio over 100", template_zip(&[("main.tf", TINY), ("spaces", spaces.as_str())]), "template_ratio"),
        ("no .tf", template_zip(&[("README.md", "# hello"), ("folder/main.tf", TINY)]), "template_no_configuration"),
        ("a backend", with_main(BACKEND), "template_backend"),
        ("a backend in JSON", template_zip(&[("main.tf.json", BACKEND_IN_JSON)]), "template_backend"),
        (
            "a backend in another file",
            template_zip(&[("main.tf", TINY), ("x_override.tf", BACKEND)]),
            "template_backend",
        ),
        ("a cloud", with_main("terraform {\n  cloud {}\n}\n"), "template_backend"),
        ("a provider's configuration", with_main("provider \"aws\" {\n  region = \"x\"\n}\n"), "template_provider"),
        ("a module from elsewhere", with_main("module \"x\" {\n  source = \"../x\"\n}\n"), "template_module_source"),
        ("broken HCL", with_main("output \"x\" {"), "template_hcl_invalid"),
    ] {
        let name = unique("type");
        let answer = stack.publish_archive(&name, "1.0.0", archive).await;
        let error = &answer.body["errors"][0];
        assert_eq!(
            (error["code"].as_str(), error["pointer"].as_str()),
            (Some(rule), Some("")),
            "{what}: {:#}",
            answer.body
        );
        answer.is_problem(422, "template_invalid");
        stack.get(&format!("/v1/resource-templates/{name}/versions")).await.is_problem(404, "template_not_found");
    }
}

#[tokio::test]
async fn an_archive_over_4_mib_is_refused_and_one_just_below_is_not() {
    let stack = Stack::load();
    let name = unique("type");
    let of = |size: usize| zip_of([("main.tf", TINY.as_bytes()), ("noise", noise(size).as_slice())]);
    let large = of(FOUR_MIB);
    assert!(large.len() > FOUR_MIB);
    stack.publish_archive(&name, "1.0.0", large).await.is_problem(413, "template_too_large");
    stack.get(&format!("/v1/resource-templates/{name}/versions")).await.is_problem(404, "template_not_found");
    let fits = of(FOUR_MIB - 8 * 1024);
    assert!(fits.len() <= FOUR_MIB);
    stack.publish_archive(&name, "1.0.0", fits).await.expect(201);
}

#[tokio::test]
async fn an_archive_of_9999_files_is_taken() {
    let stack = Stack::load();
    stack.publish_archive(&unique("type"), "1.0.0", of_files(9_999)).await.expect(201);
}

#[tokio::test]
async fn a_template_is_published_as_a_zip_under_a_name_and_a_semantic_version() {
    let stack = Stack::load();
    let archive = || with_main(TINY);
    stack.publish_archive("Capital_x", "1.0.0", archive()).await.is_problem(400, "name_invalid");
    stack.publish_archive(&"x".repeat(64), "1.0.0", archive()).await.is_problem(400, "name_invalid");
    stack.publish_archive(&unique("type"), "1.0", archive()).await.is_problem(400, "version_invalid");
    let path = format!("/v1/resource-templates/{}/versions/1.0.0", unique("type"));
    let headers = [("content-type", "application/json")];
    stack.send(Method::PUT, &path, &headers, archive()).await.is_problem(415, "media_type_unsupported");
    stack.get(&path).await.is_problem(404, "template_not_found");
}
