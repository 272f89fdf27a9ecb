//! With the feature `valgrind`: compiles the one function that needs valgrind's header.

fn main() {
    println!("cargo:rerun-if-changed=src/valgrind.c");
    #[cfg(feature = "valgrind")]
    cc::Build::new().file("src/valgrind.c").compile("stackless_valgrind");
}
