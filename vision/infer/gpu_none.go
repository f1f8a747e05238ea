//go:build !cgo

package infer

// Without cgo no library can be opened, and no model runs.

func askGPU() gpu { return gpu{err: "this program was built without cgo"} }

func loadable(string) string { return "this program was built without cgo" }

func inferVersion(string) int { return 0 }
