//! Makes the modules of the contracts of `../../protos`.

use std::error::Error;
use std::path::Path;

const PROTOS: &str = "../../protos";
const ROOTS: [&str; 9] = [
    "milepost/admin/v1/admin_service.proto",
    "milepost/blob/v1/blob_service.proto",
    "milepost/checkpoint/v1/checkpoint.proto",
    "milepost/errors/v1/errors.proto",
    "milepost/event/v1/event_service.proto",
    "milepost/scenario/v1/scenario_service.proto",
    "milepost/scenario/v1/template_service.proto",
    "milepost/session/v1/session_service.proto",
    "milepost/study/v1/study_service.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTOS}");
    let mut contracts = protox::compile(ROOTS, [Path::new(PROTOS)])?;
    // Rules for servers; nothing of them is left in the generated code.
    contracts.file.retain(|file| file.package() != "buf.validate");
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .extern_path(".google.rpc.Code", "::tonic::Code")
        .include_file("contracts.rs")
        .compile_fds(contracts)?;
    Ok(())
}
