//! What producing and consuming mean, the same on every backend.

mod admin;
mod compacting;
mod consuming;
mod groups;
mod positions;
mod producing;
mod topics;
