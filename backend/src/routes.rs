//! Tables of routes: routing, `Allow`, the names in log and metrics, and the description of an API follow one table.
//!
//! Owns what a listener does with its table. It must not know any route.

use axum::Router;
use axum::response::Response;
use axum::routing::MethodRouter;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

/// A route.
pub(crate) struct Row<S> {
    /// The path templates that lead here.
    pub(crate) paths: &'static [&'static str],
    /// The methods, for `Allow`; `None` if the handler itself answers every method.
    pub(crate) methods: Option<&'static str>,
    /// The name in log and metrics.
    pub(crate) name: &'static str,
    pub(crate) handlers: UtoipaMethodRouter<S>,
}

/// Paths and name of each row.
pub(crate) type Names = Vec<(&'static [&'static str], &'static str)>;

/// The router of a table. `wrong_method` answers a method that a path does not have, `unknown` a path that no row has.
pub(crate) fn router<S: Clone + Send + Sync + 'static>(
    table: Vec<Row<S>>,
    wrong_method: fn(allowed: &'static str) -> Response,
    unknown: fn() -> Response,
) -> Router<S> {
    let mut router = Router::new();
    for Row { paths, methods, handlers: (_, _, handlers), .. } in table {
        let handlers = match methods {
            Some(methods) => handlers.fallback(async move || wrong_method(methods)),
            None => handlers,
        };
        router = paths.iter().fold(router, |router, path| router.route(path, handlers.clone()));
    }
    router.fallback(async move || unknown())
}

/// The description of a table as it is served, with a line break at its end.
pub(crate) fn document<S: Clone + Send + Sync + 'static>(description: OpenApi, table: Vec<Row<S>>) -> String {
    let described = OpenApiRouter::<S>::with_openapi(description);
    let rows = table.into_iter().fold(described, |router, row| router.routes(row.handlers));
    let mut text = rows.into_openapi().to_pretty_json().expect("a description consists of texts and numbers");
    text.push('\n');
    text
}

pub(crate) fn undescribed<S>(handlers: MethodRouter<S>) -> UtoipaMethodRouter<S> {
    (Vec::new(), utoipa::openapi::path::Paths::new(), handlers)
}

pub(crate) fn names<S>(table: Vec<Row<S>>) -> Names {
    table.into_iter().map(|row| (row.paths, row.name)).collect()
}

/// The name of the route that a path belongs to, for log and metrics.
pub(crate) fn name_of(names: &Names, path: &str) -> &'static str {
    let found = names.iter().find(|(paths, _)| paths.iter().any(|template| matches(template, path)));
    found.map_or("other", |(_, name)| name)
}

/// Whether the router takes `path` to `template`.
fn matches(template: &str, path: &str) -> bool {
    let (mut wanted, mut found) = (template.split('/'), path.split('/'));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return true,
            (Some(wanted), Some(first)) if wanted.starts_with("{*") => {
                return !first.is_empty() || found.next().is_some();
            }
            (Some(wanted), Some(found)) if wanted.starts_with('{') && !found.is_empty() => {}
            (Some(wanted), Some(found)) if wanted == found => {}
            _ => return false,
        }
    }
}

/// Checks that each row has the paths and methods of its handlers; counts the rows that are described.
#[cfg(test)]
pub(crate) fn check<S>(table: &[Row<S>]) -> usize {
    let mut seen = 0;
    for row in table {
        let (_, paths, _) = &row.handlers;
        for (path, item) in &paths.paths {
            let methods = [
                ("PUT", &item.put),
                ("GET, HEAD", &item.get),
                ("POST", &item.post),
                ("PATCH", &item.patch),
                ("DELETE", &item.delete),
            ];
            let methods = methods.iter().filter(|(_, operation)| operation.is_some()).map(|(name, _)| *name);
            assert_eq!(row.paths, [path.as_str()]);
            assert_eq!(row.methods, Some(methods.collect::<Vec<_>>().join(", ").as_str()), "{path}");
            seen += 1;
        }
    }
    seen
}
