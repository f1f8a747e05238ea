package wire

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

// updates are the messages about bundles as they were published.
func updates() map[string]proto.Message {
	digest := bytes.Repeat([]byte{0xab}, 32)
	nonce := bytes.Repeat([]byte{0x5a}, 16)
	statement := &Statement{Device: "edge-7", Rollout: "r-42", Nonce: nonce, Digest: digest, Boot: bytes.Repeat([]byte{1}, 16), Process: bytes.Repeat([]byte{2}, 16),
		Stations: []*Ran{{Station: "st1", Epoch: 1 << 59, After: 1000, Seq: []uint64{1001, 1002, 1 << 33}}},
		Gate:     &Gate{Pictures: 24, Passed: 24, Provider: "cuda", Runtime: "1.22.0", Driver: "550.54", At: first.UnixNano()}, At: decided.UnixNano()}
	return map[string]proto.Message{
		"get-metadata.v1": &Get{Tid: 0x01020304, File: &Get_Metadata{Metadata: "12.snapshot.json"}, Piece: 1 << 16, Wanted: []byte{1}},
		"get-target.v1":   &Get{Tid: 0x01020304, File: &Get_Target{Target: digest}, Piece: 1 << 16, First: 700, Wanted: []byte{0xff, 0, 0, 0, 0, 0, 0, 0x80}},
		"get-pieces.v1":   &Get{Tid: 0xffffffff, File: &Get_Pieces{Pieces: digest}, Piece: 1 << 16, Wanted: []byte{3}},
		"block.v1":        &Block{Tid: 0x01020304, Index: 763, Size: 50_000_000, Data: []byte("a piece")},
		"fault.v1":        &Block{Tid: 0x01020304, Index: 763, Fault: Block_FAULT_BUSY, Text: "16 requests wait already"},
		"command.v1": &Command{Act: Command_ACT_INSTALL, Rollout: "r-42", Nonce: nonce, Bundle: "caps", Version: "1.2.0", Target: "bundles/caps/1.2.0.slb",
			Digest: digest, Verdicts: 20, ProbationMs: 600_000},
		"report.v1": &Report{Rollout: "r-42", Nonce: nonce, Digest: digest, Bundle: "caps", Text: "",
			Stations: []*StationUpdate{{Station: "st1", Phase: Phase_PHASE_REFUSED, Reason: "golden_gate", Text: "picture 7.jpg: expected fail, found pass",
				Done: 1 << 20, Total: 1 << 21, Active: bytes.Repeat([]byte{0xcd}, 32), ActiveVersion: "1.1.0"}},
			Proof: &Proof{Statement: []byte("statement"), Signature: []byte("signature"), Certificate: []byte("certificate")}},
		"statement.v1": statement,
		"state.v2": &State{Connection: 1 << 60, EveryMs: 10000,
			Stations: []*StationState{{Id: "st1", State: "inspecting", Model: "caps", ModelVersion: "1.2.0", Bundle: "caps", BundleDigest: strings.Repeat("ab", 32)},
				{Id: "st2", State: "inspecting", Unsigned: true}}},
		"signed.v1": &Record{Kind: &Record_Result{Result: &Result{PartId: "p-7", Station: "st1", Verdict: Verdict_VERDICT_PASS, ModelDigest: strings.Repeat("ef", 32),
			BundleDigest: strings.Repeat("ab", 32)}}},
	}
}

func TestUpdateGoldens(t *testing.T) {
	for name, m := range updates() {
		golden(t, name, m)
	}
}

// TestUpdateCrowds: what would be large when it is kept is refused, and what
// devices need isn't.
func TestUpdateCrowds(t *testing.T) {
	seqs := func(stations, each int) *Statement {
		s := &Statement{}
		for range stations {
			s.Stations = append(s.Stations, &Ran{Seq: make([]uint64, each)})
		}
		return s
	}
	for _, c := range []struct {
		m    proto.Message
		want string // "" for none
	}{
		{&Report{Stations: make([]*StationUpdate, maxStations+1)}, "257 stations, at most 256"},
		{&Report{Stations: make([]*StationUpdate, maxStations)}, ""},
		{seqs(maxStations+1, 0), "257 stations, at most 256"},
		{seqs(2, maxProved/2+1), "4098 verdicts, at most 4096"},
		{seqs(64, 64), ""},
		{&Block{Tid: 1, Index: 1 << 31, Size: 1 << 40, Data: make([]byte, 64<<10)}, ""},
		{&Block{Data: make([]byte, maxMessage)}, "at most 131072"},
		{&Get{File: &Get_Metadata{Metadata: strings.Repeat("x", maxMessage)}}, "at most 131072"},
	} {
		b, err := Marshal(c.m)
		if err != nil {
			t.Fatal(err)
		}
		err = Unmarshal(b, c.m.ProtoReflect().New().Interface())
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T of %d bytes: %v, want %q", c.m, len(b), err, c.want)
		}
	}
}

// TestBundleDigestCostsLittle: it is the same in all of a station's results, so
// that a batch holds it once.
func TestBundleDigestCostsLittle(t *testing.T) {
	for _, n := range []int{1, 10, 100} {
		var sent [2]int
		for seed := range uint64(20) {
			for i, digest := range []string{"", newLine(3e6 + seed).digest} {
				l := newLine(2e6 + seed)
				b := &Batch{Epoch: 7}
				for seq := range uint64(n) {
					r := l.next()
					r.BundleDigest = digest
					body, err := EncodeResult(r)
					if err != nil {
						t.Fatal(err)
					}
					b.Items = append(b.Items, Item{First: seq + 1, Last: seq + 1, Body: body})
				}
				raw, err := EncodeBatch(b)
				if err != nil {
					t.Fatal(err)
				}
				back, err := DecodeBatch(raw)
				if diff := cmp.Diff(b, back); diff != "" || err != nil {
					t.Fatalf("%v, -want +got:\n%s", err, diff)
				}
				sent[i] += len(raw)
			}
		}
		more := float64(sent[1]-sent[0]) / 20
		t.Logf("%d a batch: %.1f bytes more", n, more)
		if more > 80+float64(n)/10 {
			t.Errorf("%d a batch: %.1f bytes more", n, more)
		}
	}
}

func FuzzUpdate(f *testing.F) {
	for _, m := range updates() {
		raw, err := Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, m := range []proto.Message{new(Get), new(Block), new(Command), new(Report), new(Proof), new(Statement)} {
			if Unmarshal(raw, m) != nil {
				continue
			}
			b, err := Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			again := m.ProtoReflect().New().Interface()
			if err := Unmarshal(b, again); err != nil && len(b) <= maxMessage {
				t.Fatal(err)
			}
			if diff := cmp.Diff(m, again, protocmp.Transform()); diff != "" && len(b) <= maxMessage {
				t.Errorf("-first +again:\n%s", diff)
			}
		}
	})
}

// FuzzUnmarshalBlock: it takes all that Marshal writes, and makes of it what
// Unmarshal does. They differ in which unknown fields are too odd to pass over.
func FuzzUnmarshalBlock(f *testing.F) {
	for _, m := range []*Block{
		{Tid: 1, Index: 763, Size: 50_000_000, Data: []byte("a piece")}, {Tid: 1 << 31, Fault: Block_FAULT_BUSY, Text: "later"},
		{Size: 1<<64 - 1, Index: 1<<32 - 1, Fault: -7}, {},
	} {
		raw, err := Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		f.Add(append(raw, raw...))
	}
	f.Add([]byte{0x22, 0, 0x32, 1, 0xff, 0x0b, 0x0c, 0x10, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, raw []byte) {
		want := new(Block)
		if err := Unmarshal(raw, want); err != nil {
			_, _ = UnmarshalBlock(raw)
			return
		}
		want.ProtoReflect().SetUnknown(nil)
		plain, err := Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := UnmarshalBlock(raw); err == nil && !proto.Equal(want, got) {
			t.Errorf("%v, want %v", got, want)
		}
		if got, err := UnmarshalBlock(plain); err != nil || !proto.Equal(want, got) {
			t.Errorf("plainly: %v, %v, want %v", got, err, want)
		}
	})
}
