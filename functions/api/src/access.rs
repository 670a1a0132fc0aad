//! Which right each route asks for: the one table. What is not in it is refused.
//!
//! It knows no environment: whoever may do something in one of them gets past here, and the engine asks again, with the
//! environment of the record.

use axum::http::Method;
use conductor_domain::Code;
use conductor_domain::access::Right;

use crate::problem::Refused;

/// What a request needs before its handler sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: it tells and changes nothing that is somebody's.
    Public,
    /// A principal with this right, in some environment at least.
    Right(Right),
}

const PUBLIC: Access = Access::Public;
const VIEW: Access = Access::Right(Right::View);
const DEPLOY: Access = Access::Right(Right::Deploy);
const MANAGE: Access = Access::Right(Right::ManagePlatform);
const ADMINISTER: Access = Access::Right(Right::Administer);

/// A route's path, as the router has it, and what each of its methods needs.
type Row = (&'static str, &'static [(&'static str, Access)]);

const ROUTES: &[Row] = &[
    ("/health", &[("GET", PUBLIC)]),
    ("/ready", &[("GET", VIEW)]),
    ("/openapi.json", &[("GET", PUBLIC)]),
    // The API.
    ("/v1/principal", &[("GET", VIEW)]),
    ("/v1/tokens", &[("GET", ADMINISTER), ("POST", ADMINISTER)]),
    ("/v1/tokens/{id}", &[("GET", ADMINISTER), ("DELETE", ADMINISTER)]),
    ("/v1/sessions", &[("DELETE", ADMINISTER)]),
    ("/v1/template-policy", &[("GET", VIEW), ("PUT", MANAGE)]),
    ("/v1/environments", &[("GET", VIEW)]),
    ("/v1/environments/{environment}", &[("GET", VIEW), ("PUT", MANAGE), ("DELETE", MANAGE)]),
    ("/v1/environments/{environment}/graph", &[("GET", VIEW)]),
    ("/v1/environments/{environment}/pools", &[("GET", VIEW)]),
    ("/v1/environments/{environment}/pools/{pool}", &[("GET", VIEW), ("PUT", MANAGE), ("DELETE", MANAGE)]),
    ("/v1/applications", &[("GET", VIEW)]),
    ("/v1/applications/{application}", &[("GET", VIEW), ("PUT", MANAGE), ("DELETE", MANAGE)]),
    ("/v1/applications/{application}/environments/{environment}", &[("DELETE", DEPLOY)]),
    ("/v1/resource-templates", &[("GET", VIEW)]),
    ("/v1/resource-templates/{type}/versions", &[("GET", VIEW)]),
    ("/v1/resource-templates/{type}/versions/{version}", &[("GET", VIEW), ("PUT", MANAGE), ("PATCH", MANAGE)]),
    ("/v1/deployments", &[("GET", VIEW), ("POST", DEPLOY)]),
    ("/v1/deployments/{id}", &[("GET", VIEW)]),
    ("/v1/deployments/{id}/logs", &[("GET", VIEW)]),
    ("/v1/deployments/{id}/workload", &[("GET", VIEW)]),
    ("/v1/deployments/{id}/cancel", &[("POST", DEPLOY)]),
    ("/v1/deployments/{id}/retry", &[("POST", DEPLOY)]),
    ("/v1/resources", &[("GET", VIEW), ("POST", MANAGE)]),
    ("/v1/resources/{id}", &[("GET", VIEW), ("PATCH", MANAGE), ("DELETE", DEPLOY)]),
    ("/v1/resources/{id}/impact", &[("GET", VIEW)]),
    ("/v1/resources/{id}/consumers", &[("POST", DEPLOY)]),
    ("/v1/resources/{id}/consumers/{consumer}", &[("DELETE", DEPLOY)]),
    // Whether it is sensitive the engine knows.
    ("/v1/resources/{id}/outputs/{name}", &[("GET", VIEW)]),
    ("/v1/audit-events", &[("GET", VIEW)]),
    // The dashboard.
    ("/assets/{version}/{file}", &[("GET", PUBLIC)]),
    ("/login", &[("GET", PUBLIC)]),
    ("/login/callback", &[("GET", PUBLIC)]),
    ("/logout", &[("POST", PUBLIC)]),
    ("/", &[("GET", VIEW)]),
    ("/deployments", &[("GET", VIEW)]),
    ("/deployments/{id}", &[("GET", VIEW)]),
    ("/deployments/{id}/log", &[("GET", VIEW)]),
    ("/deployments/{id}/file", &[("GET", VIEW)]),
    ("/deployments/{id}/cancel", &[("GET", VIEW), ("POST", DEPLOY)]),
    ("/deployments/{id}/retry", &[("GET", VIEW), ("POST", DEPLOY)]),
    ("/resources", &[("GET", VIEW)]),
    ("/resources/{id}", &[("GET", VIEW)]),
    ("/environments", &[("GET", VIEW)]),
    ("/environments/{environment}", &[("GET", VIEW)]),
    ("/environments/{environment}/pools/{pool}", &[("GET", VIEW)]),
    ("/applications", &[("GET", VIEW)]),
    ("/applications/{application}", &[("GET", VIEW)]),
    // Its page is a dry run.
    ("/applications/{application}/environments/{environment}/teardown", &[("GET", DEPLOY), ("POST", DEPLOY)]),
    ("/templates", &[("GET", VIEW)]),
    ("/templates/{name}", &[("GET", VIEW)]),
    ("/audit", &[("GET", VIEW)]),
];

/// What a method of a route needs; `path` as the router has it.
pub fn of(method: &Method, path: &str) -> Result<Access, Refused> {
    let forgotten = || Refused::new(Code::Forbidden, Code::Forbidden.title());
    let (_, methods) = ROUTES.iter().find(|(known, _)| *known == path).ok_or_else(forgotten)?;
    let name = if method == Method::HEAD { "GET" } else { method.as_str() };
    let found = methods.iter().find(|(known, _)| *known == name).map(|(_, access)| *access);
    found.ok_or_else(|| Refused::new(Code::MethodNotAllowed, Code::MethodNotAllowed.title()))
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// The methods of a path in a document, which has other members, too.
    const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

    /// Every method of every route, with what it needs.
    pub fn all() -> impl Iterator<Item = (Method, &'static str, Access)> {
        let method = |name: &str| Method::from_bytes(name.as_bytes()).expect("a method");
        ROUTES
            .iter()
            .flat_map(move |(path, methods)| methods.iter().map(move |(name, access)| (method(name), *path, *access)))
    }

    #[test]
    fn every_route_of_the_document_is_in_the_table_and_the_table_has_no_other() {
        let (_, document) = crate::app::routes();
        let document = serde_json::to_value(document).expect("a document is JSON");
        let paths = document["paths"].as_object().expect("paths");
        let documented: BTreeSet<(String, String)> = paths
            .iter()
            .flat_map(|(path, methods)| {
                let has = |name: &&&str| methods.get(**name).is_some();
                METHODS.iter().filter(has).map(|name| (path.clone(), name.to_uppercase())).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(listed(is_api), documented);
    }

    fn is_api(path: &str) -> bool {
        path.starts_with("/v1/") || path == "/health" || path == "/ready"
    }

    /// What the table has of these paths.
    fn listed(wanted: impl Fn(&str) -> bool) -> BTreeSet<(String, String)> {
        let rows = all().filter(|(_, path, _)| wanted(path));
        rows.map(|(method, path, _)| (path.to_owned(), method.to_string())).collect()
    }

    /// The routes of the dashboard's sources: its router cannot be asked for them.
    fn sources(folder: &Path) -> BTreeSet<(String, String)> {
        let mut routes = BTreeSet::new();
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("a file").path();
            if path.is_dir() {
                routes.extend(sources(&path));
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source");
                for route in text.split(".route(\"").skip(1) {
                    let (path, rest) = route.split_once('"').expect("a path");
                    let handlers = rest.lines().next().unwrap_or_default();
                    let methods = [("get(", "GET"), ("post(", "POST")];
                    let methods = methods.iter().filter(|(call, _)| handlers.contains(call));
                    routes.extend(methods.map(|(_, method)| (path.to_owned(), (*method).to_owned())));
                }
            }
        }
        routes
    }

    #[test]
    fn every_route_of_the_dashboard_is_in_the_table_and_the_table_has_no_other() {
        let found = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dashboard"));
        assert_eq!(listed(|path| !is_api(path) && path != "/openapi.json"), found);
    }

    #[test]
    fn no_route_has_two_rows() {
        let paths: BTreeSet<&str> = ROUTES.iter().map(|(path, _)| *path).collect();
        assert_eq!(paths.len(), ROUTES.len());
    }

    #[test]
    fn only_what_is_nobodys_is_public() {
        let public: Vec<String> = all()
            .filter(|(_, _, access)| *access == Access::Public)
            .map(|(method, path, _)| format!("{method} {path}"))
            .collect();
        let expect = [
            "GET /health",
            "GET /openapi.json",
            "GET /assets/{version}/{file}",
            "GET /login",
            "GET /login/callback",
            "POST /logout",
        ];
        assert_eq!(public, expect);
    }

    #[test]
    fn what_changes_something_is_not_for_who_only_sees() {
        for (method, path, access) in all() {
            let sees = access == VIEW || access == PUBLIC;
            assert!(!sees || method.is_safe() || path == "/logout", "{method} {path}");
        }
    }

    #[test]
    fn what_the_table_does_not_have_is_refused() {
        let check = |method: Method, path: &str, expect: Result<Access, Code>| {
            assert_eq!(of(&method, path).map_err(|refused| refused.0.code), expect, "{method} {path}");
        };
        check(Method::GET, "/v1/deployments", Ok(VIEW));
        check(Method::HEAD, "/v1/deployments", Ok(VIEW));
        check(Method::POST, "/v1/deployments", Ok(DEPLOY));
        check(Method::DELETE, "/v1/deployments", Err(Code::MethodNotAllowed));
        check(Method::OPTIONS, "/v1/deployments", Err(Code::MethodNotAllowed));
        check(Method::GET, "/v1/deployments/", Err(Code::Forbidden));
        check(Method::GET, "/v1/deployments/x", Err(Code::Forbidden));
        check(Method::GET, "/v2", Err(Code::Forbidden));
    }

    /// What the docs say of roles.
    fn section() -> &'static str {
        let (_, section) = include_str!("../../../docs/api.md").split_once("\n## Roles\n").expect("the section");
        section.split("\n## ").next().expect("a section")
    }

    /// The table in it, row by row: a right, and the routes that ask for it.
    fn documented() -> Vec<(&'static str, BTreeSet<String>)> {
        let rows = section().lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
        let cells = rows.map(|row| row.split(" | ").collect::<Vec<_>>());
        cells
            .filter_map(|cells| {
                let [right, _, routes] = cells[..] else { return None };
                let right = right.strip_prefix('`')?.strip_suffix('`')?;
                Some((right, routes.split('`').skip(1).step_by(2).map(str::to_owned).collect()))
            })
            .collect()
    }

    #[test]
    fn the_docs_say_which_route_asks_for_what() {
        // Of what is only seen they say that it is the rest.
        let rights = [("deploy", DEPLOY), ("managePlatform", MANAGE), ("administer", ADMINISTER)];
        let documented = documented();
        for (name, access) in rights {
            let routes = documented.iter().find(|(right, _)| *right == name).map(|(_, routes)| routes);
            let expect: BTreeSet<String> = all()
                .filter(|(_, path, needs)| *needs == access && path.starts_with("/v1/"))
                .map(|(method, path, _)| format!("{method} {path}"))
                .collect();
            assert_eq!(routes, Some(&expect), "{name}");
        }
    }

    #[test]
    fn the_docs_say_which_role_gives_what() {
        for right in Right::ALL {
            let name = format!("{right:?}");
            let name = name[..1].to_lowercase() + &name[1..];
            let roles: Vec<String> = right.roles().iter().map(|role| format!("`{role}`")).collect();
            let row = format!("| `{name}` | {} |", roles.join(", "));
            assert!(section().lines().any(|line| line.starts_with(&row)), "{row}");
        }
    }
}
