package wire

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// maxMessage is how long a message other than a batch may be, bytes.
const maxMessage = 256 << 10

// Marshal gives the bytes of a Hello, Ack, Refusal, Life or State. A text that
// is no UTF-8 is an error.
func Marshal(m proto.Message) ([]byte, error) {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode a %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return b, nil
}

// Unmarshal reads such a message, which may come from anywhere.
func Unmarshal(b []byte, m proto.Message) error {
	if len(b) > maxMessage {
		return fmt.Errorf("decode a %s: it has %d bytes, at most %d will do", m.ProtoReflect().Descriptor().Name(), len(b), maxMessage)
	}
	if err := proto.Unmarshal(b, m); err != nil {
		return fmt.Errorf("decode a %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	return nil
}
