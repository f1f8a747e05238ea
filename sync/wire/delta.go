package wire

import "google.golang.org/protobuf/proto"

// delta takes from each result what the one before it, or its own decision,
// says already. All arithmetic wraps, so that it is exact for every value. A
// body that is no result, or that protobuf would write otherwise, passes as it
// is; as what it is used for starts with a byte that says which.
type delta struct {
	decided int64
	seq     uint64 // of the result before: its last frame
}

const (
	bodyAsIs  byte = 0
	bodyDelta byte = 1
)

func (d *delta) encode(body []byte) []byte {
	r := new(Record)
	if proto.Unmarshal(body, r) != nil || r.GetResult() == nil {
		return append([]byte{bodyAsIs}, body...)
	}
	if b, err := Encode(r); err != nil || string(b) != string(body) {
		return append([]byte{bodyAsIs}, body...)
	}
	next := d.take(r.GetResult())
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend([]byte{bodyDelta}, r)
	if err != nil {
		panic("BUG: a record that was just decoded can't be encoded: " + err.Error())
	}
	*d = next
	return b
}

// take makes the result's fields relative and says what the next one's are
// relative to.
func (d *delta) take(r *Result) delta {
	next := delta{r.Decided, r.LastSeq}
	r.LastCaptured = r.Decided - r.LastCaptured
	r.FirstCaptured = r.Decided - r.FirstCaptured
	r.BestCaptured = r.Decided - r.BestCaptured
	r.Latency = r.LastCaptured - r.Latency
	r.FirstSeq, r.BestSeq = r.LastSeq-r.FirstSeq, r.LastSeq-r.BestSeq
	r.LastSeq -= d.seq
	r.Decided -= d.decided
	return next
}

// decode undoes encode. What encode never writes comes out as it went in.
func (d *delta) decode(b []byte) []byte {
	if len(b) == 0 {
		return []byte{}
	}
	body := append([]byte{}, b[1:]...)
	r := new(Record)
	if b[0] != bodyDelta || proto.Unmarshal(body, r) != nil || r.GetResult() == nil {
		return body
	}
	d.give(r.GetResult())
	full, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		return body
	}
	return full
}

func (d *delta) give(r *Result) {
	r.Decided += d.decided
	r.LastSeq += d.seq
	r.FirstSeq, r.BestSeq = r.LastSeq-r.FirstSeq, r.LastSeq-r.BestSeq
	r.Latency = r.LastCaptured - r.Latency
	r.BestCaptured = r.Decided - r.BestCaptured
	r.FirstCaptured = r.Decided - r.FirstCaptured
	r.LastCaptured = r.Decided - r.LastCaptured
	*d = delta{r.Decided, r.LastSeq}
}
