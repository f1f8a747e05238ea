package wire

import "google.golang.org/protobuf/proto"

// delta takes from each result what the one before it, or its own decision,
// says already. All arithmetic wraps, so that it is exact for every value. A
// body that is no result passes as it is. A result that protobuf would write
// otherwise does too, marked by a byte in front that no Record begins with.
type delta struct {
	decided int64
	seq     uint64 // of the result before: its last frame
}

// bodyAsIs would be a tag with field number 0, which protobuf forbids.
const bodyAsIs byte = 0

func (d *delta) encode(body []byte) []byte {
	r := new(Record)
	if proto.Unmarshal(body, r) != nil || r.GetResult() == nil {
		if len(body) > 0 && body[0] == bodyAsIs {
			return append([]byte{bodyAsIs}, body...)
		}
		return body
	}
	if b, err := Encode(r); err != nil || string(b) != string(body) {
		return append([]byte{bodyAsIs}, body...)
	}
	next := d.take(r.GetResult())
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
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
	if len(b) > 0 && b[0] == bodyAsIs {
		return b[1:]
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
