//! Compiles the C files against the headers of the interpreter that the extension is built for.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=src");
    let files = std::fs::read_dir("src").expect("a directory").map(|entry| entry.expect("readable").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|kind| kind == "c")).collect();
    files.sort(); // so that two builds have the same layout
    let include = include_folders();
    let mut build = cc::Build::new();
    build.files(files).flag("-std=c11").warnings(true).extra_warnings(false);
    // Fields that were just stored one by one must be loaded one by one: a wider load waits until the
    // stores have reached the cache, which made a switch a quarter slower.
    build.force_frame_pointer(false).flag("-fvisibility=hidden");
    build.flag_if_supported("-fno-tree-vectorize").flag_if_supported("-fno-tree-slp-vectorize");
    // Each function begins at a cache line, so that code in front of it does not change its speed: other
    // alignments made creating and running a tasklet 4 % slower.
    build.flag_if_supported("-falign-functions=64");
    // Starting "rep stos" takes longer than clearing a fresh state with plain stores.
    build.flag_if_supported("-mmemset-strategy=unrolled_loop:512:noalign,libcall:-1:noalign");
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        build.define("NDEBUG", None);
    }
    for dir in include.lines() {
        build.include(dir).include(format!("{dir}/internal"));
    }
    build.compile("stackless_c");
}

/// Where the headers are: those of the interpreter, or for another processor, whose interpreter does
/// not run here, the folder that `STACKLESS_PYTHON_INCLUDE` names.
fn include_folders() -> String {
    println!("cargo:rerun-if-env-changed=STACKLESS_PYTHON_INCLUDE");
    if let Ok(folder) = std::env::var("STACKLESS_PYTHON_INCLUDE") {
        return folder;
    }
    let config = pyo3_build_config::get();
    let python = config.executable().expect("the path of the Python to build for (set PYO3_PYTHON)");
    let include = Command::new(python)
        .args(["-c", "import sysconfig; print(sysconfig.get_path('include')); print(sysconfig.get_path('platinclude'))"])
        .output()
        .expect("Python runs");
    String::from_utf8(include.stdout).expect("paths are UTF-8")
}
