//! What peers could once do to the relay from outside: stop it, stall it, delay and confuse others. One test each;
//! docs/journal/0013 says which fault each is of, and how it showed.
#[path = "../support/mod.rs"]
mod support;

mod delays;
mod ending;
mod fins;
mod limits;
mod pace;
mod paths;
mod rings;
mod rooms;
mod scene;
mod turns;
mod waiting;
