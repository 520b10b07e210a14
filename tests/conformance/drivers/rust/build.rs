//! Makes the module of conformance.proto; the contracts it imports are the client's own modules.

use std::error::Error;

const ROOTS: [&str; 2] = ["../../proto", "../../../../protos"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={}", ROOTS[0]);
    let mut contracts = protox::compile(["milepost/conformance/v1/conformance.proto"], ROOTS)?;
    contracts.file.retain(|file| file.package() != "buf.validate");
    let mut making = tonic_prost_build::configure().build_client(false).build_server(false);
    for package in ["checkpoint", "event", "intervention", "kpi", "options", "scenario", "session", "state", "study"] {
        making = making.extern_path(format!(".milepost.{package}.v1"), format!("::milepost::{package}::v1"));
    }
    making.extern_path(".google.rpc", "::google_rpc").compile_fds(contracts)?;
    Ok(())
}
