package wire

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"
)

func body(t testing.TB, r *Record) []byte {
	t.Helper()
	b, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func hole(t testing.TB, h *Hole) Item {
	t.Helper()
	it, err := NewHole(h)
	if err != nil {
		t.Fatal(err)
	}
	return it
}

// someBatch has one of everything: a hole, a result, an amendment, bytes that
// are no record, and a result that protobuf would write otherwise.
func someBatch(t testing.TB) *Batch {
	odd := append(body(t, &Record{Kind: &Record_Result{Result: &Result{Frames: 1}}}), 0x0a, 0x00) // the result goes on in a second piece
	b := &Batch{Epoch: 0x1122334455667788, Items: []Item{
		hole(t, &Hole{First: 7, Last: 1000, Pass: 900, Fail: 80, None: 10, Other: 4, Reason: HoleRetention}),
	}}
	for i, raw := range [][]byte{
		body(t, &Record{Kind: &Record_Result{Result: someResult()}}),
		body(t, &Record{Kind: &Record_Told{Told: &Told{Seq: 1001, Answer: &Answer{Reason: "not_recorded"}, At: 5}}}),
		{0xff, 0, 1}, {}, {0}, odd,
		body(t, &Record{Kind: &Record_Result{Result: someResult()}}),
	} {
		b.Items = append(b.Items, Item{First: 1001 + uint64(i), Last: 1001 + uint64(i), Body: raw})
	}
	return b
}

func TestBatchThereAndBack(t *testing.T) {
	want := someBatch(t)
	raw, err := EncodeBatch(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeBatch(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got.First() != 7 || got.Last() != 1007 {
		t.Errorf("it covers %d to %d", got.First(), got.Last())
	}
	if b := (&Batch{}); b.First() != 0 || b.Last() != 0 {
		t.Error("a batch without items covers something")
	}
}

// TestBatchGoldens: what was published decodes to the same for ever.
func TestBatchGoldens(t *testing.T) {
	plain := []byte{encodingPlain}
	want := someBatch(t)
	plain = binary.LittleEndian.AppendUint64(plain, want.Epoch)
	plain = binary.LittleEndian.AppendUint64(plain, 7)
	plain = binary.LittleEndian.AppendUint16(plain, uint16(len(want.Items)))
	for _, it := range want.Items {
		plain = append(binary.AppendUvarint(plain, uint64(len(it.Body))), it.Body...)
	}
	packed, err := EncodeBatch(want)
	if err != nil {
		t.Fatal(err)
	}
	for name, made := range map[string][]byte{"batch-plain.v1": plain, "batch.v1": packed} {
		path := filepath.Join("testdata", name+".hex")
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && *update {
			text = []byte(hex.EncodeToString(made) + "\n")
			err = os.WriteFile(path, text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeBatch(golden)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s decodes to %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// TestBatchOfAnything: any bytes come back as they were, however odd, among
// results as devices make them.
func TestBatchOfAnything(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := range 300 {
		l := newLine(uint64(n))
		want := &Batch{Epoch: rnd.Uint64()}
		for i := range uint64(1 + rnd.IntN(40)) {
			raw := body(t, &Record{Kind: &Record_Result{Result: l.next()}})
			switch rnd.IntN(4) {
			case 0: // damaged
				for range 1 + rnd.IntN(3) {
					raw[rnd.IntN(len(raw))] ^= byte(1 + rnd.IntN(255))
				}
			case 1: // cut
				raw = raw[:rnd.IntN(len(raw))]
			}
			if holeIn(raw) != nil {
				continue
			}
			want.Items = append(want.Items, Item{First: 1 + i, Last: 1 + i, Body: raw})
		}
		for i := range want.Items { // some were skipped
			want.Items[i].First, want.Items[i].Last = uint64(i+1), uint64(i+1)
		}
		if len(want.Items) == 0 {
			continue
		}
		packed, err := EncodeBatch(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeBatch(packed)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want.Items {
			if string(want.Items[i].Body) != string(got.Items[i].Body) {
				t.Fatalf("round %d, item %d: sent\n%x, came\n%x", n, i, want.Items[i].Body, got.Items[i].Body)
			}
		}
	}
}

func TestBatchesThatCannotBe(t *testing.T) {
	ok := []byte{1}
	many := make([]Item, MaxBatchItems+1)
	for i := range many {
		many[i] = Item{First: uint64(i + 1), Last: uint64(i + 1), Body: ok}
	}
	for name, b := range map[string]*Batch{
		"none":     {},
		"too many": {Items: many},
		"a gap":    {Items: []Item{{First: 1, Last: 1, Body: ok}, {First: 3, Last: 3, Body: ok}}},
		"backward": {Items: []Item{{First: 5, Last: 4, Body: ok}}},
		"endless":  {Items: []Item{{First: 5, Last: math.MaxUint64, Body: ok}}},
		"too large": {Items: []Item{
			{First: 1, Last: 1, Body: make([]byte, MaxBatchBytes/2)}, {First: 2, Last: 2, Body: make([]byte, MaxBatchBytes/2)}, {First: 3, Last: 3, Body: ok}}},
	} {
		if _, err := EncodeBatch(b); err == nil {
			t.Errorf("%s: it was encoded", name)
		}
	}
	for _, h := range []*Hole{{}, {First: 2, Last: 1}, {First: 1, Last: 1, Reason: "a\xff"}} {
		if _, err := NewHole(h); err == nil {
			t.Errorf("hole %v was made", h)
		}
	}
}

func frame(encoding byte, first uint64, count int, rest []byte) []byte {
	b := binary.LittleEndian.AppendUint64([]byte{encoding}, 9)
	b = binary.LittleEndian.AppendUint64(b, first)
	b = binary.LittleEndian.AppendUint16(b, uint16(count))
	return append(b, rest...)
}

// TestHostileBatches: what a stranger may send is refused, and costs little.
func TestHostileBatches(t *testing.T) {
	good, err := EncodeBatch(someBatch(t))
	if err != nil {
		t.Fatal(err)
	}
	bomb, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	wrongHole := body(t, &Record{Kind: &Record_Hole{Hole: &Hole{First: 2, Last: 9}}})
	endless := body(t, &Record{Kind: &Record_Hole{Hole: &Hole{First: 1, Last: math.MaxUint64}}})
	text := func(b []byte) []byte { return append(binary.AppendUvarint(nil, uint64(len(b))), b...) }
	cols := func(shape string, rest string) []byte {
		return compress(nil, append(binary.AppendUvarint(nil, uint64(len(shape))), shape+rest...))
	}
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"empty":               {nil, "0 bytes"},
		"short":               {good[:batchHeader-1], "18 bytes"},
		"no items":            {frame(0, 1, 0, nil), "0 items"},
		"too many items":      {frame(0, 1, MaxBatchItems+1, nil), "513 items"},
		"number 0":            {frame(0, 0, 1, []byte{0}), "number 0"},
		"unknown encoding":    {frame(7, 1, 1, []byte{0}), "encoding is 7"},
		"cut":                 {frame(0, 1, 2, text([]byte("a"))), "item 1 is cut"},
		"longer than told":    {frame(0, 1, 1, append(text([]byte("a")), 0)), "1 bytes too many"},
		"length of 2^64":      {frame(0, 1, 1, binary.AppendUvarint(nil, math.MaxUint64)), "item 0 is cut"},
		"hole elsewhere":      {frame(0, 1, 1, text(wrongHole)), "hole from 2 to 9, expected from 1"},
		"hole without end":    {frame(0, 1, 1, text(endless)), "beyond every number"},
		"numbers run over":    {frame(0, math.MaxUint64, 1, text([]byte("a"))), "beyond every number"},
		"no zstd":             {frame(1, 1, 1, []byte("hello")), "decompress"},
		"cut zstd":            {good[:len(good)-5], "decompress"},
		"bomb":                {frame(1, 1, 1, bomb.EncodeAll(make([]byte, 1<<28), nil)), "decompress"},
		"no shape":            {frame(1, 1, 1, cols("", "")), "columns are cut"},
		"shape too long":      {frame(1, 1, 1, compress(nil, []byte{200})), "columns are cut"},
		"shape for another":   {frame(1, 1, 1, cols("\x04\x04", "")), "columns are cut"},
		"column cut":          {frame(1, 1, 1, cols("\x08\x04", "")), "columns are cut"},
		"text beyond its end": {frame(1, 1, 1, cols("\x00", "\x00\x05abc")), "columns are cut"},
		"shared with nothing": {frame(1, 1, 1, cols("\x00", "\x05\x00")), "columns are cut"},
		"endless nesting":     {frame(1, 1, 1, cols(strings.Repeat("\x0b", 1000), "")), "columns are cut"},
		"left over":           {frame(1, 1, 1, cols("\x04", "x")), "columns are cut"},
		"wrong wire type":     {frame(1, 1, 1, cols("\x0f\x04", "")), "columns are cut"},
	} {
		if _, err := DecodeBatch(c.raw); !errors.Is(err, errBatch) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for n := range good { // any byte lost or changed: refused, or a batch that stays in its limits
		if b, err := DecodeBatch(good[:n]); err == nil && n < len(good) && b.Last() != 1007 {
			t.Errorf("cut at %d it covers %d to %d", n, b.First(), b.Last())
		}
	}
}

// Shared texts must not let a small message become a large one.
func TestColumnsThatGrow(t *testing.T) {
	const each = 60 << 10
	shape := strings.Repeat("\x00", MaxBatchItems)
	numbers := append(binary.AppendUvarint([]byte{0}, each), string(binary.AppendUvarint(nil, each))+"\x00"...)
	for range MaxBatchItems - 2 {
		numbers = append(binary.AppendUvarint(numbers, each), 0)
	}
	raw := append(binary.AppendUvarint(nil, uint64(len(shape))), shape...)
	raw = append(append(raw, numbers...), make([]byte, each)...)
	if _, err := DecodeBatch(frame(1, 1, MaxBatchItems, compress(nil, raw))); !errors.Is(err, errColumns) {
		t.Errorf("%d bytes of 512 texts of %d: %v", len(raw), each, err)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	good, err := EncodeBatch(someBatch(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	seen, err := EncodeBatch(&Batch{Items: []Item{{1, 1, body(f, &Record{Kind: &Record_Result{Result: seenResult()}})}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seen)
	f.Add(frame(0, 1, 1, []byte{1, 'a'}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := DecodeBatch(raw)
		if err != nil {
			return
		}
		again, err := EncodeBatch(b)
		if err != nil {
			return // its items may have more room than we give them
		}
		back, err := DecodeBatch(again)
		if err != nil {
			t.Fatalf("what was decoded and encoded again can't be decoded: %v", err)
		}
		if diff := cmp.Diff(b, back); diff != "" {
			t.Errorf("-first +again:\n%s", diff)
		}
	})
}

// FuzzColumns goes past zstd, which stops most of what FuzzDecodeBatch tries.
func FuzzColumns(f *testing.F) {
	items, _ := uncompressed(someBatch(f))
	f.Add(items, 8)
	f.Fuzz(func(_ *testing.T, raw []byte, count int) {
		if count < 0 || count > MaxBatchItems {
			return
		}
		_, _ = joinColumns(raw, count, MaxBatchBytes)
	})
}

func FuzzLink(f *testing.F) {
	f.Add([]byte{8, 1})
	f.Fuzz(func(_ *testing.T, raw []byte) {
		for _, m := range []proto.Message{new(Hello), new(Ack), new(Refusal), new(Life), new(State)} {
			_ = Unmarshal(raw, m)
		}
	})
}

func BenchmarkBatch(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		batch := newLine(1).batch(b, 1, n)
		raw, err := EncodeBatch(batch)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("encode-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = EncodeBatch(batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
		})
		b.Run(fmt.Sprintf("decode-%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = DecodeBatch(raw)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
		})
	}
}
