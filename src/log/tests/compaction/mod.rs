//! Compaction: exact expectations, against a model, and through crashes.

mod cases;
mod crash;
mod interleaved;
mod model;
mod parts;
mod speed;
