//go:build !cgo

package infer

import (
	"errors"
	"time"
)

// session is absent from builds without cgo, which can't load ONNX Runtime.
type session struct{ outputs []Tensor }

type (
	inputs struct{}
	slot   struct{}
)

func openSession([]byte, Info, []Tensor, target) (*session, error) {
	return nil, errors.New("run models: this program was built without cgo: build it with CGO_ENABLED=1 and a C compiler")
}

// loadLibrary has nothing to load; openSession tells why.
func loadLibrary(string) error { return nil }

func (*session) describe(*Info) { panic("BUG: no session without cgo") }

func (*session) proved() error { panic("BUG: no session without cgo") }

func (*session) onEngine() bool { panic("BUG: no session without cgo") }

func (*session) newInputs([]feed) (inputs, error) { panic("BUG: no session without cgo") }

func (*session) newSlot() (*slot, error) { panic("BUG: no session without cgo") }

func (*session) fixOutputs(*slot, []Output) error { panic("BUG: no session without cgo") }

func (*session) run(inputs, *slot, time.Duration) ([]Output, error) {
	panic("BUG: no session without cgo")
}

func (*session) fixOver(*slot, []Output, [][]float32) error { panic("BUG: no session without cgo") }

func (*slot) drop() {}

func (inputs) drop() {}

func (*session) stop() {}
