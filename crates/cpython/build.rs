//! Compiles the shim against the headers of the interpreter that the extension is built for.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src/shim.c");
    let config = pyo3_build_config::get();
    let python = config.executable().expect("the path of the Python to build for (set PYO3_PYTHON)");
    let include = Command::new(python)
        .args(["-c", "import sysconfig; print(sysconfig.get_path('include')); print(sysconfig.get_path('platinclude'))"])
        .output()
        .expect("Python runs");
    let include = String::from_utf8(include.stdout).expect("paths are UTF-8");
    let mut build = cc::Build::new();
    build.file("src/shim.c").flag("-std=c11").warnings(true).extra_warnings(false);
    for dir in include.lines() {
        build.include(dir).include(format!("{dir}/internal"));
    }
    build.compile("stackless_shim");
}
