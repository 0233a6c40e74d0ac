//! Compiles bank.proto without protoc: protox parses it, tonic-prost-build writes the Rust.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=bank");
    let descriptors = protox::compile(["bank/v1/bank.proto"], ["."])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("bank_descriptor.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure()
        // Maps come out in key order, so that the same content always has the same bytes.
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
