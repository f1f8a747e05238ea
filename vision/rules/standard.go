package rules

import (
	_ "embed" // the standard rule's module
	"fmt"

	"github.com/klauspost/compress/zstd"
)

//go:generate go test -run ^TestStandardModuleIsFresh$ -count 1 . -args -update

// std.wasm.zst is the guest in the folder std, compiled by the Go version in
// std.version; go generate makes both.
//
//go:embed std.wasm.zst
var standard []byte

// Standard is the standard rule's module: WebAssembly for Compile. Its
// parameters are a list of clauses as "defect>0.5" or "scratch>=0.7,dent>0.5":
// any that holds gives FAIL, else the part passes; "defect" stands for every
// label of evidence.
func Standard() ([]byte, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxModule))
	if err != nil {
		return nil, fmt.Errorf("unpack the standard rule: %w", err)
	}
	defer d.Close()
	wasm, err := d.DecodeAll(standard, nil)
	if err != nil {
		return nil, fmt.Errorf("unpack the standard rule: %w", err)
	}
	return wasm, nil
}
