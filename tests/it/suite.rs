//! What producing and consuming mean, the same on every backend.

mod admin;
mod compacting;
mod consuming;
mod groups;
mod patterns;
mod positions;
mod producing;
mod topics;
