// Command std is the standard rule as a WebAssembly guest. It is compiled by
// go generate in the package above into std.wasm.zst and run by its host; as
// a program of its own it does nothing. The decision is plain Go and tested
// natively; exports_wasip1.go is the door to the host.
package main

func main() {}
