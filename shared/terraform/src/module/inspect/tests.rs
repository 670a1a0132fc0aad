use super::*;

fn read_as(entries: &[(&str, &str)], engine: Engine) -> Result<Vec<Use>, ModuleError> {
    let files: BTreeMap<String, Vec<u8>> =
        entries.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    read(&tree::read(&files, engine)?, &files, engine)
}

fn name(what: &What) -> String {
    match what {
        What::ModuleSource { source } => format!("module {source}"),
        What::Provider { source, version } => {
            let source = source.strip_prefix("registry.terraform.io/").unwrap_or(source);
            format!("provider {source} {}", version.as_deref().unwrap_or("any"))
        }
        other => format!("{other:?}"),
    }
}

/// Where what was found, without the providers.
fn found(entries: &[(&str, &str)], engine: Engine) -> Vec<String> {
    let uses = read_as(entries, engine).expect("a template");
    let uses = uses.iter().filter(|one| !matches!(one.what, What::Provider { .. }));
    uses.map(|one| format!("{}:{} {}", one.file, one.line, name(&one.what))).collect()
}

fn check(file: &str, text: &str, expect: &[&str]) {
    let found = found(&[("z.tf", ""), ("b/b.tf", ""), (file, text)], Engine::Terraform);
    let expect: Vec<String> = expect.iter().map(|one| format!("{file}:{one}")).collect();
    assert_eq!(found, expect, "{text}");
}

/// Whether an expression reaches files outside of the module.
fn reaches(expression: &str, expect: bool) {
    let text = format!("locals {{\n  a = {expression}\n}}\n");
    check("a.tf", &text, if expect { &["2 Files"] } else { &[] });
}

#[test]
fn programs_and_other_machines_are_found_wherever_they_may_stand() {
    let provisioners = r#"resource "terraform_data" "a" {
  connection {
    host = "x"
  }
  provisioner "local-exec" {
    command = "true"
  }
  provisioner remote-exec {
    inline = ["true"]
    connection { host = "y" }
  }
  provisioner "file" {
    destination = "/x"
  }
}
"#;
    let expect = ["2 RemoteExec", "5 LocalExec", "8 RemoteExec", "10 RemoteExec", "12 RemoteExec"];
    check("a.tf", provisioners, &expect);
    check("a.tf", &provisioners.replace('\n', "\r\n"), &expect);
    check("a_override.tf", provisioners, &expect);
    check("a.tf", &format!("\u{feff}{provisioners}"), &expect);
    let removed = "removed {\n from = aws_x.a\n provisioner \"local-exec\" {\n  when = destroy\n }\n}\n";
    check("a.tf", removed, &["3 LocalExec"]);
    check("a.tf", "resource \"aws_x\" \"a\" {\n provisioner \"local\\u002dexec\" {}\n}\n", &["2 LocalExec"]);
    check(
        "a.tf",
        "data \"local_command\" \"a\" {}\naction \"local_command\" \"b\" {}\n",
        &["1 LocalExec", "2 LocalExec"],
    );
    check("a.tf", "ephemeral \"local_command\" \"a\" {}\n", &["1 LocalExec"]);
    // A provider's own block of that name.
    check("a.tf", "resource \"aws_x\" \"a\" {\n peer {\n  connection {}\n }\n}\n", &[]);
}

#[test]
fn the_same_in_json_whichever_way_it_is_nested() {
    let local = r#""provisioner": {"local-exec": {"command": "x"}}"#;
    for text in [
        format!("{{\"resource\":\n{{\"terraform_data\": {{\"a\": {{{local}}}}}}}}}"),
        format!("{{\"resource\":\n[{{\"terraform_data\": [{{\"a\": [{{{local}}}]}}]}}]}}"),
        format!("{{\"resource\":\n{{\"terraform_data\": {{\"a\": [[{{{local}}}]]}}}}}}"),
        format!("{{\"removed\":\n{{\"from\": \"terraform_data.a\", {local}}}}}"),
        format!("{{\"resource\":\n{{\"terraform_data\": {{\"a\": {{{local}}}}}}}, \"resource\": {{}}}}"),
        format!("{{\"resource\":\n{{\"terraform_data\": {{\"a\": {{{local}, \"provisioner\": []}}}}}}}}"),
        "{\"resource\":\n{\"terraform_data\": {\"a\": {\"provision\\u0065r\": [{\"loc\\u0061l-exec\": {}}]}}}}"
            .to_owned(),
    ] {
        check("a.tf.json", &text, &["2 LocalExec"]);
    }
    let several = "{\"resource\": {\"terraform_data\": {\"a\": {\n\"connection\": {\"host\": \"x\"},\n\
                   \"provisioner\": [{\n\"file\": {}},{\n\"remote-exec\": {\n\"connection\": {}}}]}}}}";
    check("a.tf.json", several, &["2 RemoteExec", "4 RemoteExec", "5 RemoteExec", "6 RemoteExec"]);
    check("a.tf.json", "{\"//\": {\"resource\": {}}, \"resource\": {\"terraform_data\": {\"a\": {}}}}", &[]);
}

#[test]
fn data_from_programs_servers_and_other_states_is_found() {
    let hcl = "data \"external\" \"a\" {}\ndata \"http\" \"b\" {}\nephemeral \"http\" \"c\" {}\n\
               check \"d\" {\n  data \"http\" \"e\" {}\n}\ndata \"terraform_remote_state\" \"f\" {}\n";
    check("a.tf", hcl, &["1 ExternalData", "2 HttpData", "3 HttpData", "5 HttpData", "7 Files"]);
    let json = "{\"data\": {\n\"external\": {\"a\": {}},\n\"http\": [{\"b\": {}},\n{\"c\": {}}]},\n\
                \"check\": {\"d\": {\"data\": {\n\"terraform_remote_state\": {\"e\": {}}}}}}";
    check("a.tf.json", json, &["2 ExternalData", "3 HttpData", "4 HttpData", "6 Files"]);
}

#[test]
fn a_module_from_elsewhere_is_found_at_its_source() {
    let hcl = "module \"a\" {\n  version = \"1\"\n  source  = \"acme/vpc/aws\"\n}\n\
               module \"b\" {\n  source = \"./b\"\n}\n\
               module \"c\" {\n  source = \"git::https://git.example/c.git?ref=1\"\n}\n";
    check("a.tf", hcl, &["3 module acme/vpc/aws", "9 module git::https://git.example/c.git?ref=1"]);
    let json = "{\"module\": {\"a\": {\n\"source\": \"https://example.com/a.zip\"}}}";
    check("a.tf.json", json, &["2 module https://example.com/a.zip"]);
    let found = found(
        &[
            ("main.tf", "module \"a\" {\n source = \"./a\"\n}\n"),
            ("a/main.tf", "module \"b\" {\n source = \"x/y/z\"\n}\ndata \"external\" \"c\" {}\n"),
            ("examples/main.tf", "data \"external\" \"d\" {}\n"),
        ],
        Engine::Terraform,
    );
    assert_eq!(found, ["a/main.tf:2 module x/y/z", "a/main.tf:4 ExternalData"]);
}

#[test]
fn files_outside_of_the_module_are_found_in_every_function_that_reaches_files() {
    for function in [
        "file",
        "fileexists",
        "filebase64",
        "filemd5",
        "filesha1",
        "filesha256",
        "filesha512",
        "filebase64sha256",
        "filebase64sha512",
        "core::file",
    ] {
        reaches(&format!("{function}(\"${{path.module}}/a.json\")"), false);
        reaches(&format!("{function}(\"credentials\")"), true);
        reaches(&format!("{function}(\"/proc/self/environ\")"), true);
        reaches(&format!("{function}(\"~/.aws/credentials\")"), true);
        reaches(&format!("{function}(\"${{path.root}}/credentials\")"), true);
        reaches(&format!("{function}(\"${{path.module}}/../credentials\")"), true);
        reaches(&format!("{function}(var.file)"), true);
        reaches(&format!("{function}([\"${{path.module}}/a\"]...)"), true);
    }
    reaches("fileset(path.module, \"**/*.json\")", false);
    reaches("fileset(path.module, \"../*\")", true);
    reaches("fileset(path.module, var.pattern)", true);
    reaches("fileset(path.root, \"*\")", true);
    reaches("fileset(\"/proc\", \"*\")", true);
    reaches("templatefile(\"/etc/passwd\", {})", true);
    reaches("provider::local::file(\"/x\")", false);
    reaches("templatestring(local.text, {})", false);
    reaches("upper(\"/proc/self/environ\")", false);
}

#[test]
fn a_function_is_found_wherever_an_expression_may_stand() {
    let call = "file(\"/x\")";
    for expression in [
        format!("[1, {call}]"),
        format!("{{ (upper({call})) = 1 }}"),
        format!("{{ a = {{ b = {call} }} }}"),
        format!("upper(lower({call}))"),
        format!("({call})"),
        format!("true ? {call} : 1"),
        format!("{call} == \"\" ? 1 : 2"),
        format!("true ? 1 : {call}"),
        format!("!can({call})"),
        format!("1 + length({call}) * 2"),
        format!("split(\"\", {call})[0]"),
        format!("var.a[{call}]"),
        format!("jsondecode({call}).a"),
        format!("[for a in {call} : a]"),
        format!("[for a in [] : {call}]"),
        format!("[for a in [] : a if {call} == a]"),
        format!("{{ for a in [] : {call} => a }}"),
        format!("{{ for a in [] : a => {call}... }}"),
        format!("\"a ${{{call}}}\""),
        format!("\"%{{ if {call} == \\\"\\\" }}a%{{ endif }}\"").replace("\\\"", "\""),
        format!("\"%{{ if true }}${{{call}}}%{{ endif }}\""),
        format!("\"%{{ if true }}a%{{ else }}${{{call}}}%{{ endif }}\""),
        format!("\"%{{ for a in {call} }}a%{{ endfor }}\""),
        format!("\"%{{ for a in [] }}${{{call}}}%{{ endfor }}\""),
    ] {
        reaches(&expression, true);
    }
    let heredoc =
        "locals {\n  a = <<-EOT\n    one\n    ${file(\"/x\")}\n    ${upper(\n      file(\"/y\")\n    )}\n  EOT\n}\n";
    check("a.tf", heredoc, &["4 Files", "6 Files"]);
    check("a.tf", &heredoc.replace('\n', "\r\n"), &["4 Files", "6 Files"]);
    let blocks = "resource \"aws_x\" \"a\" {\n  dynamic \"b\" {\n    for_each = file(\"/x\")\n    content {\n\
                  c = file(\"/y\")\n    }\n  }\n  lifecycle {\n    precondition {\n\
                  condition = file(\"/z\")\n    }\n  }\n}\n";
    check("a.tf", blocks, &["3 Files", "5 Files", "10 Files"]);
}

#[test]
fn every_text_in_json_is_taken_for_a_template() {
    let inner = "file(\\\"/x\\\")";
    let call = format!("${{{inner}}}");
    for text in [
        format!("{{\"locals\":\n{{\"a\": \"{call}\"}}}}"),
        format!("{{\"locals\":\n{{\"a\": {{\"{call}\": 1}}}}}}"),
        format!("{{\"locals\":\n{{\"a\": [{{\"b\": \"%{{ for a in {inner} }}a%{{ endfor }}\"}}]}}}}"),
        format!("{{\"output\":\n{{\"a\": {{\"value\": \"a {call}\"}}}}}}"),
        format!("{{\"resource\":\n{{\"aws_x\": {{\"a\": {{\"b\": {{\"c\": [\"{call}\"]}}}}}}}}}}"),
        format!("{{\"locals\":\n{{\"a\": \"{call}\", \"a\": 1}}}}"),
        "{\"locals\":\n{\"a\": \"\\u0024{file(\\\"/x\\\")}\"}}".to_owned(),
    ] {
        check("a.tf.json", &text, &["2 Files"]);
    }
    check("a.tf.json", "{\"locals\": {\"a\": \"${file(\\\"${path.module}/x\\\")} $${file(\\\"/x\\\")}\"}}", &[]);
    let broken = "{\"locals\":\n{\"a\": \"${file(\"}}";
    match read_as(&[("a.tf.json", broken)], Engine::Terraform) {
        Err(ModuleError::HclInvalid { line, .. }) => assert_eq!(line, Some(2)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_loop_cannot_put_something_else_in_the_place_of_the_modules_path() {
    let call = "file(\"${path.module}/environ\")";
    reaches(&format!("[for path in [{{ module = \"/proc/self\" }}] : {call}]"), true);
    reaches(&format!("{{ for path, a in {{}} : a => {call} }}"), true);
    reaches("\"%{ for path in var.a }${file(\"${path.module}/x\")}%{ endfor }\"", true);
    reaches("[for paths in var.a : file(\"${path.module}/x\")]", false);
}

#[test]
fn a_file_that_is_rendered_is_looked_at_too() {
    let rendered = |engine: Engine, template: &str| {
        let main = "locals {\n  a = templatefile(\"${path.module}/a.tftpl\", {})\n}\nlocals {\n  b = \
                    templatefile(\"${path.module}/./a.tftpl\", {})\n}\n";
        found(&[("main.tf", main), ("a.tftpl", template)], engine)
    };
    let check =
        |template: &str, expect: &[&str]| assert_eq!(rendered(Engine::Terraform, template), expect, "{template}");
    check("plain ${upper(name)}\n%{ if true }a%{ endif }", &[]);
    check("a\n${file(\"/proc/self/environ\")}", &["a.tftpl:2 Files"]);
    check(
        "a\r\n\r\n%{ for path in [] }${file(\"${path.module}/x\")}%{ endfor }",
        &["a.tftpl:3 Files", "a.tftpl:3 Files"],
    );
    check("${core::templatefile(\"x\", {})}", &["a.tftpl:1 Files"]);
    check("a\n${file(", &["a.tftpl:2 Files"]);
    check("a\n$$${file(\"/x\")}", &["a.tftpl:2 Files"]);
    let main = "locals {\n  a = templatefile(\"${path.module}/made.tftpl\", {})\n}\n";
    assert_eq!(found(&[("main.tf", main)], Engine::Terraform), ["main.tf:2 Files"]);
    let text = "locals {\n  a = templatestring(local.b, {})\n}\n";
    assert_eq!(found(&[("main.tf", text)], Engine::Tofu), ["main.tf:2 Files"]);
}

#[test]
fn what_is_about_local_files_reaches_those_of_the_module_alone() {
    check("a.tf", "data \"local_file\" \"a\" {\n  filename = \"${path.module}/x\"\n}\n", &[]);
    check("a.tf", "data \"local_file\" \"a\" {\n  filename = \"/proc/self/environ\"\n}\n", &["2 Files"]);
    check("a.tf", "ephemeral \"local_file\" \"a\" {\n  filename = var.x\n}\n", &["2 Files"]);
    check("a.tf", "resource \"local_file\" \"a\" {\n  filename = \"${path.module}/main.tf\"\n}\n", &["1 Files"]);
    let archive = "data \"archive_file\" \"a\" {\n  type = \"zip\"\n  source_dir = \"${path.module}/x\"\n  \
                   output_path = \"/tmp/x.zip\"\n}\n";
    check("a.tf", archive, &["4 Files"]);
    let json = "{\"data\": {\"local_sensitive_file\": {\"a\": {\n\"filename\": \"credentials\"}}}}";
    check("a.tf.json", json, &["2 Files"]);
}

#[test]
fn every_provider_is_named_once_with_all_its_constraints() {
    let entries = [
        (
            "main.tf",
            "module \"a\" {\n source = \"./a\"\n}\nterraform {\n required_providers {\n  aws = \">= 5\"\n }\n}\n",
        ),
        (
            "a/main.tf",
            "terraform {\n required_providers {\n  aws = { source = \"hashicorp/aws\", version = \"< 6\" }\n }\n}\n",
        ),
        ("a/b.tf", "resource \"random_id\" \"a\" {}\nresource \"terraform_data\" \"b\" {}\n"),
        ("b.tf.json", "{\"terraform\": {\"provider_meta\": {\n\"aws\": {\"a\": \"b\"}}}}"),
    ];
    let uses = read_as(&entries, Engine::Terraform).expect("a template");
    let found: Vec<String> = uses.iter().map(|one| format!("{}:{} {}", one.file, one.line, name(&one.what))).collect();
    let expect = [
        "b.tf.json:2 ProviderSettings",
        "main.tf:6 provider hashicorp/aws >= 5, < 6",
        "a/b.tf:1 provider hashicorp/random any",
    ];
    assert_eq!(found, expect);
}

#[test]
fn more_than_anybody_would_look_at_is_refused() {
    let calls = |count: usize| format!("locals {{\n a = [{}]\n}}\n", "file(\"/x\"),".repeat(count));
    assert_eq!(found(&[("a.tf", calls(MAX_USES).as_str())], Engine::Terraform).len(), MAX_USES);
    let refused = read_as(&[("a.tf", calls(MAX_USES + 1).as_str())], Engine::Terraform).map_err(|error| error.code());
    assert_eq!(refused, Err("template_too_many_uses"));
}

#[test]
fn rendered_files_that_are_too_much_to_read_together_are_found() {
    let renders = |name: &str| format!("  {name} = templatefile(\"${{path.module}}/{name}.txt\", {{}})\n");
    let main = format!("locals {{\n{}{}}}\n", renders("a"), renders("b"));
    let half = "x = ${y}\n".repeat(6_000);
    let check = |second: &str, expect: &[&str]| {
        let found = found(&[("main.tf", &main), ("a.txt", &half), ("b.txt", second)], Engine::Terraform);
        assert_eq!(found, expect, "{} bytes", second.len());
    };
    check("x = ${y}\n", &[]);
    check(&half, &["b.txt:1 Files"]);
}

#[test]
fn what_is_shown_of_a_module_is_short_and_one_line() {
    let long = format!("data \"local_file\" \"a\" {{\n  filename = \"a\\n{}\"\n}}\n", "é".repeat(1_000));
    let uses = read_as(&[("a.tf", long.as_str())], Engine::Terraform).expect("a template");
    let detail = &uses[0].detail;
    assert!(detail.chars().count() < 300 && !detail.contains('\n') && detail.contains('…'), "{detail}");
}

#[test]
fn any_part_of_a_configuration_is_read_or_refused() {
    let hcl = "resource \"a\" \"b\" {\n  c = <<-X\n    ${file(\"${path.module}/d\")} %{ for e in f }g%{ endfor }\n  X\n\
               provisioner \"local-exec\" { command = \"é\" }\n}\nmodule \"h\" { source = \"./i\" }\n";
    let json = "{\"resource\": {\"a\": [{\"b\": {\"c\": \"${file(\\\"x\\\")}\", \"provisioner\": {\"é\": {}}}}]}}";
    for (file, text) in [("a.tf", hcl), ("a.tf.json", json)] {
        assert!(read_as(&[(file, text), ("i/i.tf", "")], Engine::Terraform).is_ok(), "{text}");
        for (cut, _) in text.char_indices() {
            for part in [&text[..cut], &text[cut..]] {
                // Either answer will do, as long as there is one.
                let _ = read_as(&[(file, part)], Engine::Terraform);
            }
        }
    }
    let deep =
        |open: &str, close: &str| format!("locals {{\n a = {}1{}\n}}\n", open.repeat(5_000), close.repeat(5_000));
    for text in [deep("[", "]"), deep("(", ")"), deep("{a=", "}"), deep("\"${", "}\""), deep("-", ""), deep("1+", "")] {
        let refused = read_as(&[("a.tf", text.as_str())], Engine::Terraform).map_err(|error| error.code());
        assert_eq!(refused, Err("template_hcl_invalid"));
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
    let refused = read_as(&[("a.tf.json", deep.as_str())], Engine::Terraform).map_err(|error| error.code());
    assert_eq!(refused, Err("template_hcl_invalid"));
}
