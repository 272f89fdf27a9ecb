//! With the feature `valgrind`: the one function that needs its header.

fn main() {
    println!("cargo:rerun-if-changed=src/valgrind.c");
    #[cfg(feature = "valgrind")]
    cc::Build::new().file("src/valgrind.c").compile("stackless_valgrind");
}
