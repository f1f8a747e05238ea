package guest

import "unsafe"

// The guest's only state: memory that the host writes to and reads from. It
// is kept here so that the garbage collector leaves it alone between calls,
// and used again so that a call allocates little.
var (
	input  []byte
	output []byte
	part   Part
)

//go:wasmexport alloc
func alloc(n uint32) uint32 {
	if uint32(len(input)) < n || len(input) == 0 {
		input = make([]byte, max(n, 1024))
	}
	return uint32(uintptr(unsafe.Pointer(&input[0])))
}

// Run reads the part that the host wrote, calls decide and hands the answer
// back; export it as "rule". The part is valid during the call only. A part
// that can't be read gives no answer, which the host takes as a failed rule.
func Run(decide func(*Part) Answer) uint64 {
	if err := Decode(input, &part); err != nil {
		return 0
	}
	a := decide(&part)
	output = Append(output[:0], &a)
	return pack(output)
}

// Configure hands the parameters of the configuration to setUp; export it as
// "configure". What setUp returns as an error the user of the rule gets to
// see.
func Configure(setUp func(params string) error) uint64 {
	params, _, ok := text(input, "")
	if !ok {
		return pack([]byte("the parameters can't be read"))
	}
	if err := setUp(params); err != nil {
		output = append(output[:0], err.Error()...)
		return pack(output)
	}
	return 0
}

func pack(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	return uint64(uintptr(unsafe.Pointer(&b[0])))<<32 | uint64(len(b))
}
