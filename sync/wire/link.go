package wire

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Limits of a message other than a batch. A device with 60 stations and three
// warnings about each tells about 70 KiB.
const (
	maxMessage  = 128 << 10 // bytes
	maxStations = 256
	maxWarnings = 1024
	maxReadings = 256
	maxGPUs     = 64
	maxProved   = 4096 // numbers of verdicts in a Statement
)

// Marshal gives the bytes of a message other than a batch. A text that
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
	if what, n, most := crowd(m); n > most {
		return fmt.Errorf("decode a %s: it has %d %s, at most %d will do", m.ProtoReflect().Descriptor().Name(), n, what, most)
	}
	return nil
}

// crowd is what a message has more of than it may: an empty one takes two
// bytes when it is sent, and a hundred times that when it is kept. Else n is 0.
func crowd(m proto.Message) (what string, n, most int) {
	type part struct {
		what    string
		n, most int
	}
	var all []part
	switch m := m.(type) {
	case *State:
		b := m.GetBoard()
		all = []part{
			{"stations", len(m.GetStations()), maxStations}, {"warnings", len(m.GetWarnings()), maxWarnings},
			{"temperatures", len(b.GetTemperatures()), maxReadings}, {"GPUs", len(b.GetGpus()), maxGPUs},
		}
	case *Hello:
		all = []part{{"GPUs", len(m.GetInventory().GetGpus()), maxGPUs}}
	case *Report:
		all = []part{{"stations", len(m.GetStations()), maxStations}}
	case *Statement:
		proved := 0
		for _, s := range m.GetStations() {
			proved += len(s.GetSeq())
		}
		all = []part{{"stations", len(m.GetStations()), maxStations}, {"verdicts", proved, maxProved}}
	}
	for _, p := range all {
		if p.n > p.most {
			return p.what, p.n, p.most
		}
	}
	return "", 0, 0
}
