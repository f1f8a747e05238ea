package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// allocated is how many bytes do takes.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// shaped is columns of one body: its shape and what follows.
func shaped(shape []byte, rest ...[]byte) []byte {
	out := binary.AppendUvarint(nil, uint64(len(shape)))
	return append(append(out, shape...), bytes.Join(rest, nil)...)
}

// TestGroupsThatGrow: each of many nested messages copies the same large text,
// which costs a few bytes to ask for.
func TestGroupsThatGrow(t *testing.T) {
	text := bytes.Repeat([]byte("x"), MaxRecord-16)
	var shape, numbers []byte
	for i := range 100 {
		shape = binary.AppendUvarint(shape, 1<<3|uint64(protowire.StartGroupType))
		shape = binary.AppendUvarint(shape, 2<<3|uint64(protowire.BytesType))
		shape = binary.AppendUvarint(shape, tokenEnd)
		shared := min(i, 1) * len(text)
		numbers = binary.AppendUvarint(binary.AppendUvarint(numbers, uint64(shared)), uint64(len(text)-shared))
	}
	raw := shaped(binary.AppendUvarint(shape, tokenEnd), numbers, text)
	var err error
	took := allocated(func() { _, err = joinColumns(raw, 1, MaxBatchBytes) })
	if !errors.Is(err, errColumns) || took > 16<<20 {
		t.Errorf("%d bytes take %d MiB, %v", len(raw), took>>20, err)
	}
}

// TestColumnsWithoutNumber: a shape whose fields are all in columns of their
// own.
func TestColumnsWithoutNumber(t *testing.T) {
	var shape []byte
	n := 0
	for a := range uint64(32) {
		for b := range uint64(32) {
			for _, field := range []uint64{a + 1, b + 1} {
				shape = binary.AppendUvarint(shape, field<<3|uint64(protowire.StartGroupType))
			}
			for field := range uint64(32) {
				shape = binary.AppendUvarint(shape, (field+1)<<3)
				n++
			}
			shape = append(shape, byte(tokenEnd), byte(tokenEnd))
		}
	}
	raw := shaped(append(shape, byte(tokenEnd)), make([]byte, n))
	var err error
	took := allocated(func() { _, err = joinColumns(raw, 1, MaxBatchBytes) })
	if !errors.Is(err, errColumns) || took > 4<<20 {
		t.Errorf("%d bytes take %d KiB, %v", len(raw), took>>10, err)
	}
}

// TestSmallBatchesThatGrow: what is small when it is sent stays small.
func TestSmallBatchesThatGrow(t *testing.T) {
	evidence := bytes.Repeat([]byte{evidenceField<<3 | 2, 0}, (MaxRecord-16)/2)
	body := protowire.AppendBytes(protowire.AppendTag(nil, resultField, protowire.BytesType), evidence)
	b := &Batch{Epoch: 1}
	var c columns
	for i := range uint64(3) {
		b.Items = append(b.Items, Item{First: i + 1, Last: i + 1, Body: body})
		c.add(body)
	}
	raw := compress(b.head(encodingZstd, 0), c.bytes())
	var err error
	took := allocated(func() { _, err = DecodeBatch(raw) })
	if !errors.Is(err, errBatch) || took > 1<<20 {
		t.Errorf("%d bytes take %d MiB: %v", len(raw), took>>20, err)
	}
	honest, err := EncodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = DecodeBatch(honest); err != nil || len(honest) < 3*len(body)/mostGrowth-freeBytes/mostGrowth {
		t.Errorf("three records of %d bytes in %d: %v", len(body), len(honest), err)
	}
	b.Items = b.Items[:1]
	for _, most := range []int{0, 1000} { // the frame is honest about its size, another one follows
		two := append(compress(b.head(encodingZstd, 0), make([]byte, most)), compress(nil, make([]byte, 1<<20))...)
		if _, err := DecodeBatch(two); !errors.Is(err, errBatch) {
			t.Errorf("a second frame: %v", err)
		}
	}
}

// TestForetellingIsBounded: each measurement looks at each piece of evidence.
func TestForetellingIsBounded(t *testing.T) {
	r := &Result{}
	for range MaxDetails {
		r.Evidence = append(r.Evidence, &Evidence{Score: 0.5})
		r.Measurements = append(r.Measurements, &Measurement{})
	}
	b := body(t, &Record{Kind: &Record_Result{Result: r}})
	var d delta
	if got := d.decode(b); &got[0] != &b[0] {
		t.Error("a result with too many details was taken apart")
	}
	if sent := d.encode(b); !bytes.Equal(d.decode(sent), b) {
		t.Error("a result with many details comes otherwise")
	}
}

// TestNotANumberIsNotForetold: its bits are the processor's own choice, and
// the fleet's is another than the device's.
func TestNotANumberIsNotForetold(t *testing.T) {
	r := &Result{Evidence: []*Evidence{{Label: "a", Score: float32(math.NaN())}}, Measurements: []*Measurement{{Name: "a", Value: 7}}}
	if foretell(r); r.Measurements[0].Value != 7 {
		t.Errorf("got %v", r.Measurements[0].Value)
	}
}

// oddBodies are what a journal may hold, at its limits.
func oddBodies(t *testing.T) map[string][]byte {
	back := someResult()
	back.FirstCaptured, back.LastCaptured, back.BestCaptured, back.Latency = math.MaxInt64, math.MinInt64, math.MaxInt64-1, math.MinInt64
	back.FirstSeq, back.BestSeq, back.LastSeq = math.MaxUint64, 1<<63, 0
	long := proto.Clone(back).(*Result)
	long.Reason = strings.Repeat("r", MaxRecord-len(body(t, &Record{Kind: &Record_Result{Result: back}}))-8)
	nearly := proto.Clone(back).(*Result)
	nearly.Reason = strings.Repeat("r", MaxSent-len(body(t, &Record{Kind: &Record_Result{Result: back}}))-4)
	many := someResult()
	for range 9000 {
		many.Evidence = append(many.Evidence, many.Evidence[0])
	}
	return map[string][]byte{
		"empty": {}, "marked": {0}, "no record": {0xff}, "field 32": {0x80, 0x02, 0x01}, "field 33": {0x8a, 0x02, 0x02, 0x08, 0x01},
		"numbers that go back": body(t, &Record{Kind: &Record_Result{Result: back}}),
		"the longest":          body(t, &Record{Kind: &Record_Result{Result: long}}),
		"nearly heavy":         body(t, &Record{Kind: &Record_Result{Result: nearly}}),
		"much evidence":        body(t, &Record{Kind: &Record_Result{Result: many}}),
		"longest and raw":      append([]byte{0}, bytes.Repeat([]byte("x"), MaxRecord-1)...),
		"empty texts":          append([]byte{0x78, 1}, bytes.Repeat([]byte{0x7a, 0}, MaxRecord/2-1)...),
		"some empty texts":     append([]byte{0x78, 1}, bytes.Repeat([]byte{0x7a, 0}, 16_000)...),
		"usual":                body(t, &Record{Kind: &Record_Result{Result: someResult()}}),
		"seen":                 body(t, &Record{Kind: &Record_Result{Result: seenResult()}}),
	}
}

// same is quicker than cmp, which looks at each byte by reflection.
func same(a, b *Batch) bool {
	return a.Epoch == b.Epoch && slices.EqualFunc(a.Items, b.Items, func(a, b Item) bool {
		return a.First == b.First && a.Last == b.Last && bytes.Equal(a.Body, b.Body)
	})
}

// TestEncodedIsDecoded: whatever EncodeBatch makes, DecodeBatch takes and
// gives back, and so does EncodePlain.
func TestEncodedIsDecoded(t *testing.T) {
	bodies := oddBodies(t)
	check := func(what string, b *Batch) {
		t.Helper()
		packed, err := EncodeBatch(b)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		plain, err := EncodePlain(b)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for _, raw := range [][]byte{packed, plain} {
			if got, err := DecodeBatch(raw); err != nil || !same(b, got) {
				t.Errorf("%s: in %d bytes: %v", what, len(raw), err)
			}
		}
	}
	names := make([]string, 0, len(bodies))
	for name, raw := range bodies {
		names = append(names, name)
		check(name, &Batch{Items: []Item{{1, 1, raw}}})
		for n := 2; n <= MaxBatchItems && n*(len(raw)+100) < MaxBatchBytes; n *= 4 { // as equal as can be
			b := &Batch{}
			for i := range uint64(n) {
				b.Items = append(b.Items, Item{1 + i, 1 + i, raw})
			}
			check(fmt.Sprintf("%d of %s", n, name), b)
		}
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		b := &Batch{Epoch: rnd.Uint64()}
		var what []string
		for size := 0; len(b.Items) < 20; {
			name := names[rnd.IntN(len(names))]
			if size += len(bodies[name]) + 100; size > MaxBatchBytes {
				break
			}
			seq := 1 + uint64(len(b.Items))
			what, b.Items = append(what, name), append(b.Items, Item{seq, seq, bodies[name]})
		}
		check(strings.Join(what, ", "), b)
	}
}

// TestItemsThatSayOtherwise: the fleet would refuse them for ever.
func TestItemsThatSayOtherwise(t *testing.T) {
	span := hole(t, &Hole{First: 1, Last: 9})
	for name, it := range map[string]Item{
		"too long":       {1, 1, make([]byte, MaxRecord+1)},
		"a record spans": {1, 2, []byte{1}},
		"a hole as one":  {1, 1, span.Body},
		"another hole":   {2, 10, span.Body},
		"number 0":       {0, 0, []byte{1}},
	} {
		for _, encode := range []func(*Batch) ([]byte, error){EncodeBatch, EncodePlain} {
			if _, err := encode(&Batch{Items: []Item{it}}); err == nil {
				t.Errorf("%s: it was encoded", name)
			}
		}
	}
}

// TestDecodeSent: the fleet takes what devices make, and not what would take
// many times its bytes.
func TestDecodeSent(t *testing.T) {
	rich := someResult()
	for range (MaxDetails - len(rich.Evidence) - len(rich.Measurements)) / 2 {
		rich.Evidence, rich.Measurements = append(rich.Evidence, rich.Evidence[0]), append(rich.Measurements, rich.Measurements[0])
	}
	ok := body(t, &Record{Kind: &Record_Result{Result: rich}})
	if r, err := DecodeSent(ok); err != nil || r.GetResult() == nil {
		t.Errorf("%d bytes with %d details: %v", len(ok), MaxDetails, err)
	}
	empties := func(n int) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, resultField, protowire.BytesType), bytes.Repeat([]byte{evidenceField<<3 | 2, 0}, n))
	}
	text := func(n int) []byte {
		return body(t, &Record{Kind: &Record_Told{Told: &Told{Answer: &Answer{Reason: strings.Repeat("r", n)}}}})
	}
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"long":         {text(MaxSent), "the fleet takes 65536"},
		"details":      {empties(MaxDetails + 1), "513 pieces"},
		"in two":       {append(empties(MaxDetails), empties(1)...), "513 pieces"},
		"and cut":      {append(empties(MaxDetails+1), 0xff), "513 pieces"},
		"a long hole":  {body(t, &Record{Kind: &Record_Hole{Hole: &Hole{First: 1, Last: 1, Reason: strings.Repeat("r", maxHoleBody)}}}), "a hole with"},
		"no record":    {[]byte{0xff}, "decode a record"},
		"without kind": {nil, ErrKind.Error()},
	} {
		if _, err := DecodeSent(c.body); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
