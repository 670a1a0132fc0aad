//! The dashboard: pages made here, from what the engine tells. A little script keeps them up to date.
//!
//! It decides nothing and holds nothing; whatever it shows, the API shows too. No page loads anything from elsewhere,
//! and none has a style or a script of its own in it.

mod actions;
mod applications;
mod audit;
mod deployment;
mod deployments;
mod environment;
mod environments;
mod graph;
mod login;
mod overview;
mod page;
mod pools;
pub mod problem;
mod resource;
mod resources;
mod templates;

pub use page::{Unframed, framed};

use axum::Router;
use axum::response::Response;
use axum::routing::get;

use crate::app::App;
use crate::extract::Named;
use crate::problem::Refused;

/// All pages, and what they load.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/assets/{version}/{file}", get(asset))
        .merge(login::routes())
        .merge(overview::routes())
        .merge(deployments::routes())
        .merge(deployment::routes())
        .merge(actions::routes())
        .merge(resources::routes())
        .merge(resource::routes())
        .merge(environments::routes())
        .merge(environment::routes())
        .merge(pools::routes())
        .merge(templates::routes())
        .merge(applications::routes())
        .merge(audit::routes())
}

async fn asset(Named((version, file)): Named<(String, String)>) -> Result<Response, Refused> {
    page::asset(&version, &file)
}
