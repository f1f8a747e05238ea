package wire

import (
	"bytes"
	"math"

	"google.golang.org/protobuf/proto"
)

// delta takes from each result what the one before it, or the rest of it, says
// already: frames come at an even pace, boxes near each other, and thresholds
// measure scores. What it can't give back exactly, or is a heavy record, passes
// as it is, marked by a byte in front that no Record begins with; so does,
// unmarked, a body that is no result.
type delta struct {
	last    int64 // of the result before: when its last frame was taken
	seq     int64 // and that frame's number
	latency int64 // from there to the decision
	pace    int64 // from frame to frame
	box     [4]int32
}

// bodyAsIs would be a tag with field number 0, which protobuf forbids.
const bodyAsIs byte = 0

func (d *delta) encode(body []byte) []byte {
	if heavy(body, MaxSent) {
		return append([]byte{bodyAsIs}, body...)
	}
	r := new(Record)
	if proto.Unmarshal(body, r) != nil || r.GetResult() == nil {
		if len(body) > 0 && body[0] == bodyAsIs {
			return append([]byte{bodyAsIs}, body...)
		}
		return body
	}
	before, there := *d, *d
	d.take(r.GetResult())
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil || !bytes.Equal(there.decode(b), body) {
		*d = before
		return append([]byte{bodyAsIs}, body...)
	}
	return b
}

// decode undoes encode. What encode never writes comes out as anything.
func (d *delta) decode(b []byte) []byte {
	if len(b) > 0 && b[0] == bodyAsIs {
		return b[1:]
	}
	if heavy(b, MaxSent+maxBody-MaxRecord) {
		return b
	}
	r := new(Record)
	if proto.Unmarshal(b, r) != nil || r.GetResult() == nil {
		return b
	}
	d.give(r.GetResult())
	full, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return b
	}
	return full
}

// take makes the result's fields relative. All arithmetic wraps.
func (d *delta) take(r *Result) {
	d.boxes(r, takeBox)
	foretell(r)
	last, seq, latency := r.LastCaptured, int64(r.LastSeq), r.Decided-r.LastCaptured
	frames, best, span := seq-int64(r.FirstSeq), seq-int64(r.BestSeq), last-r.FirstCaptured
	pace := d.paceOf(span, frames)
	r.Latency = fold(latency - r.Latency)
	r.Decided = fold(latency - d.latency)
	r.LastCaptured = fold(last - d.last - (seq-d.seq)*d.pace)
	r.FirstCaptured = fold(span - frames*d.pace)
	r.BestCaptured = fold(last - r.BestCaptured - best*pace)
	r.FirstSeq, r.BestSeq, r.LastSeq = uint64(frames), uint64(best), uint64(seq-d.seq)
	d.last, d.seq, d.latency, d.pace = last, seq, latency, pace
}

// give undoes take.
func (d *delta) give(r *Result) {
	d.boxes(r, giveBox)
	foretell(r)
	frames, best, seq := int64(r.FirstSeq), int64(r.BestSeq), int64(r.LastSeq)+d.seq
	span := unfold(r.FirstCaptured) + frames*d.pace
	pace := d.paceOf(span, frames)
	last := unfold(r.LastCaptured) + d.last + (seq-d.seq)*d.pace
	latency := unfold(r.Decided) + d.latency
	r.Latency = latency - unfold(r.Latency)
	r.Decided, r.LastCaptured, r.FirstCaptured = last+latency, last, last-span
	r.BestCaptured = last - unfold(r.BestCaptured) - best*pace
	r.FirstSeq, r.BestSeq, r.LastSeq = uint64(seq-frames), uint64(seq-best), uint64(seq)
	d.last, d.seq, d.latency, d.pace = last, seq, latency, pace
}

// paceOf is the time from frame to frame, whole microseconds; as before where
// the result doesn't tell.
func (d *delta) paceOf(span, frames int64) int64 {
	if frames <= 0 {
		return d.pace
	}
	return span / frames / micro * micro
}

const micro = 1000 // nanoseconds

// fold makes small numbers of either sign small, and whole microseconds
// smaller. It is exact for a quarter of all numbers.
func fold(n int64) int64 {
	odd := int64(1)
	if n%micro == 0 {
		n, odd = n/micro, 0
	}
	return (n<<1^n>>63)<<1 | odd
}

func unfold(n int64) int64 {
	odd := n & 1
	n = int64(uint64(n) >> 1)
	n = int64(uint64(n)>>1) ^ -(n & 1)
	if odd == 0 {
		n *= micro
	}
	return n
}

// boxes goes through the part's box, relative to that of the part before, and
// the evidence's, whose places are relative to the part's.
func (d *delta) boxes(r *Result, do func(number *float32, from int32) int32) {
	if b := r.Box; b != nil {
		for i, number := range []*float32{&b.X, &b.Y, &b.W, &b.H} {
			d.box[i] = do(number, d.box[i])
		}
	}
	for _, e := range r.Evidence {
		if b := e.Box; b != nil {
			for i, number := range []*float32{&b.X, &b.Y, &b.W, &b.H} {
				do(number, []int32{d.box[0], d.box[1], 0, 0}[i])
			}
		}
	}
}

// takeBox puts a whole number of sixteenths of a pixel, less from, into the
// bits of the number: small ones have zeros above. It returns what it was.
func takeBox(number *float32, from int32) int32 {
	n := int32(*number * 16)
	*number = math.Float32frombits(uint32((n-from)<<1 ^ (n-from)>>31))
	return n
}

func giveBox(number *float32, from int32) int32 {
	bits := math.Float32bits(*number)
	n := from + (int32(bits>>1) ^ -int32(bits&1))
	*number = float32(n) / 16
	return n
}

// foretell takes from measurements what a threshold would have measured: the
// highest score of its label, or of all. A second time gives it back.
func foretell(r *Result) {
	for _, m := range r.Measurements {
		var own, all float32
		for _, e := range r.Evidence {
			all = max(all, e.Score)
			if e.Label == m.Name {
				own = max(own, e.Score)
			}
		}
		if own == 0 {
			own = all
		}
		expected := math.Round(float64(own)*1e6) / 1e6
		if math.IsNaN(expected) { // its bits differ between processors
			expected = 0
		}
		m.Value = math.Float64frombits(math.Float64bits(m.Value) ^ math.Float64bits(expected))
	}
}
