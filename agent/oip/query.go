package oip

import (
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/sightline-edge/sightline/internal/web"
	"github.com/sightline-edge/sightline/vision/infer"
)

// query is a request to infer that was read: its inputs lie in the arena.
type query struct {
	request
	inputs []infer.Laid // in the model's order
	wanted []wantedTensor

	arena *infer.Arena
	room  *budget
	taken int64 // of room
}

// What reading JSON takes, ÷ its bytes: the text and the tensors' data again, and what
// the text had before it grew where its length isn't known.
const (
	jsonCost  = 2
	grownCost = 3
)

// wantedTensor is an output that is to be answered.
type wantedTensor struct {
	name   string
	binary bool
}

// body is a request's body with what is known of its length.
type body struct {
	io.Reader
	length int64  // -1 if it isn't known
	header string // the length of the JSON
}

// open unpacks the request's body.
func open(w http.ResponseWriter, r *http.Request, most int64) (*body, error) {
	if r.ContentLength > most {
		return nil, tooLarge("request", most)
	}
	r = web.WholeBody(w, r, most)
	b := &body{Reader: r.Body, length: r.ContentLength, header: r.Header.Get(headerLength)}
	var err error
	switch coding := r.Header.Get("Content-Encoding"); coding {
	case "", "identity":
		return b, nil
	case "gzip":
		b.Reader, err = gzip.NewReader(r.Body)
	case "deflate":
		b.Reader, err = zlib.NewReader(r.Body)
	default:
		return nil, fault{http.StatusUnsupportedMediaType, fmt.Errorf("the content encoding %q isn't supported: gzip and deflate are", cut(coding))}
	}
	if err != nil {
		return nil, unreadable(err)
	}
	b.length = -1
	return b, nil
}

// unreadable is the error of a body that can't be read on.
func unreadable(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return tooLarge("request", large.Limit)
	}
	return bad("read the request: %w", err)
}

// read takes a request in. What it takes of the room is given back by close.
func (q *query) read(w http.ResponseWriter, r *http.Request, m *served, most int64) error {
	b, err := open(w, r, most)
	if err != nil {
		return err
	}
	n, split, err := parseHeaderLength(b.header, b.length)
	switch {
	case err != nil:
		return bad("%w", err)
	case split && n == 0:
		return q.readRaw(b, m, most)
	case !split:
		n = b.length
	}
	text, err := q.text(b, n, most)
	if err != nil {
		return err
	}
	if split && int64(len(text)) < n {
		return bad("the request ends after %d bytes, its %s is %d", len(text), headerLength, n)
	}
	if err := decodeJSON(text, &q.request); err != nil {
		return bad("the request's JSON: %w", err)
	}
	if err := q.want(m); err != nil {
		return err
	}
	return q.readInputs(b, m, most)
}

// text reads n bytes, as far as they come, or all that there are, at most most, where n
// is below 0. It takes room for what comes of them.
func (q *query) text(r io.Reader, n, most int64) ([]byte, error) {
	size, cost := n, int64(jsonCost)
	if n < 0 {
		size, cost = min(64<<10, most+1), grownCost
	}
	var text []byte
	for {
		if err := q.reserve(q.held() + cost*min(size, most)); err != nil {
			return nil, err
		}
		text = append(make([]byte, 0, size), text...)
		for int64(len(text)) < size {
			got, err := r.Read(text[len(text):size])
			text = text[:len(text)+got]
			if err == io.EOF {
				return text, nil
			} else if err != nil {
				return nil, unreadable(err)
			}
		}
		if n >= 0 {
			return text, nil
		}
		if size > most {
			return nil, tooLarge("request", most)
		}
		size = min(2*size, most+1)
	}
}

// held is what the arena takes.
func (q *query) held() int64 { return int64(q.arena.Bytes()) }

func tooLarge(what string, most int64) error {
	return fault{http.StatusRequestEntityTooLarge, fmt.Errorf("the %s has more than the %d bytes that are taken", what, most)}
}

// reserve takes room for n bytes in all.
func (q *query) reserve(n int64) error {
	if n > q.room.all {
		return fault{http.StatusRequestEntityTooLarge, fmt.Errorf("the request takes %d bytes of memory, at most %d are possible: send tensors as binary data", n, q.room.all)}
	}
	if more := n - q.taken; more > 0 {
		if !q.room.take(more) {
			return busy("too much is being asked at once: ask again")
		}
		q.taken = n
	}
	return nil
}

// settle gives back what was taken to read, when the inputs lie in the arena.
func (q *query) settle() {
	for n := range q.Inputs {
		q.Inputs[n].Data = nil
	}
	if over := q.taken - q.held(); over > 0 {
		q.room.giveBack(over)
		q.taken -= over
	}
}

func (q *query) close() {
	q.room.giveBack(q.taken)
	q.taken = 0
}

// want reads which outputs are wanted, and checks the parameters.
func (q *query) want(m *served) error {
	p := &q.Parameters
	switch {
	case p.SequenceStart || p.SequenceEnd || len(p.SequenceID) > 0 && string(p.SequenceID) != "0" && string(p.SequenceID) != `""`:
		return bad("sequences aren't supported: send each request by itself")
	case p.Timeout != nil && *p.Timeout < 0:
		return bad("its timeout is %d: µs are wanted, 0 for none", *p.Timeout)
	case len(q.ID) > maxID:
		return bad("its id has %d bytes, at most %d are possible", len(q.ID), maxID)
	}
	for _, o := range q.Outputs {
		switch {
		case !slices.ContainsFunc(m.outputs, func(t TensorMetadata) bool { return t.Name == o.Name }):
			return bad("model %s has no output %q: it has %s", m.Name, cut(o.Name), namesOf(m.outputs))
		case slices.ContainsFunc(q.wanted, func(t wantedTensor) bool { return t.name == o.Name }):
			return bad("the output %s is wanted twice", o.Name)
		case o.Parameters.Classification != nil && *o.Parameters.Classification > 0:
			return bad("the output %s: classification isn't supported: ask for the scores", o.Name)
		case o.Parameters.SharedMemory != nil:
			return bad("the output %s: shared memory isn't supported: ask for binary data", o.Name)
		}
		t := wantedTensor{name: o.Name, binary: p.BinaryDataOutput}
		if o.Parameters.BinaryData != nil {
			t.binary = *o.Parameters.BinaryData
		}
		q.wanted = append(q.wanted, t)
	}
	if len(q.Outputs) == 0 {
		q.wantAll(m, p.BinaryDataOutput)
	}
	return nil
}

func (q *query) wantAll(m *served, binary bool) {
	for _, t := range m.outputs {
		q.wanted = append(q.wanted, wantedTensor{name: t.Name, binary: binary})
	}
}

func namesOf(list []TensorMetadata) string {
	var all []string
	for _, t := range list {
		all = append(all, t.Name)
	}
	return strings.Join(all, ", ")
}

// readInputs lays the inputs into the arena: those as JSON from the request, binary
// ones from what follows, straight into their place.
func (q *query) readInputs(b *body, m *served, most int64) error {
	places, total, err := q.place(m, most)
	if err != nil {
		return err
	}
	memory, err := q.lay(total)
	if err != nil {
		return err
	}
	for n := range q.Inputs {
		in := &q.Inputs[n]
		at := q.inputs[places[n]]
		to := memory[at.Offset : at.Offset+at.Size]
		if in.Parameters.BinaryDataSize == nil {
			if _, err := appendData(to[:0], in.Datatype, in.Shape, in.Data); err != nil {
				return bad("input %s: %w", in.Name, err)
			}
			continue
		}
		if got, err := io.ReadFull(b, to); err != nil {
			return cutOff(in.Name, got, len(to), err)
		}
	}
	if err := ended(b); err != nil {
		return err
	}
	q.settle()
	return nil
}

// lay gives memory for the inputs, in which so many bytes are beside what the request's
// text takes.
func (q *query) lay(n int64) ([]byte, error) {
	if more := n - q.held(); more > 0 {
		if err := q.reserve(q.taken + more); err != nil {
			return nil, err
		}
	}
	return q.arena.Room(int(n))
}

func cutOff(name string, got, want int, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return bad("input %s: the request ends after %d of its %d bytes", name, got, want)
	}
	return unreadable(err)
}

// ended checks that nothing is left of the body.
func ended(b *body) error {
	var one [1]byte
	switch _, err := io.ReadFull(b, one[:]); err {
	case io.EOF:
		return nil
	case nil:
		return bad("more bytes follow than the inputs' sizes say")
	default:
		return unreadable(err)
	}
}

// place finds a place in the arena for each input. places are their indexes among
// the model's, in the request's order; total is the bytes that all take.
func (q *query) place(m *served, most int64) (places []int, total int64, err error) {
	q.inputs = make([]infer.Laid, len(m.inputs))
	seen := make([]bool, len(m.inputs))
	for n := range q.Inputs {
		in := &q.Inputs[n]
		at := slices.IndexFunc(m.inputs, func(t TensorMetadata) bool { return t.Name == in.Name })
		switch {
		case at < 0:
			return nil, 0, bad("model %s has no input %q: it has %s", m.Name, cut(in.Name), namesOf(m.inputs))
		case seen[at]:
			return nil, 0, bad("the input %s is there twice", in.Name)
		}
		seen[at] = true
		size, err := in.size()
		if err != nil {
			return nil, 0, bad("input %w", err)
		}
		if err := fitsModel(in, m.info.Inputs[at]); err != nil {
			return nil, 0, bad("input %s: %w", in.Name, err)
		}
		if size > most-total {
			return nil, 0, tooLarge("request", most)
		}
		places = append(places, at)
		q.inputs[at] = laid(m.info.Inputs[at], in.Shape, total, size)
		total += (size + infer.Align - 1) / infer.Align * infer.Align
	}
	for n, t := range m.inputs {
		if !seen[n] {
			return nil, 0, bad("the input %s is missing: %s of %s", t.Name, Shape(t.Shape), t.Datatype)
		}
	}
	return places, total, nil
}

func laid(t infer.Tensor, shape []int64, offset, size int64) infer.Laid {
	t.Shape = shape
	return infer.Laid{Tensor: t, Offset: int(offset), Size: int(size)}
}

// fitsModel compares an input with what the model declares.
func fitsModel(in *wireTensor, want infer.Tensor) error {
	if in.Datatype != datatypes[want.Type] {
		return fmt.Errorf("its datatype is %s, the model takes %s", in.Datatype, datatypes[want.Type])
	}
	fits := want.Shape == nil || len(want.Shape) == len(in.Shape)
	for n := 0; fits && n < len(want.Shape); n++ {
		fits = want.Shape[n] < 0 || want.Shape[n] == in.Shape[n]
	}
	if !fits {
		return fmt.Errorf("its shape is %s, the model takes %s", Shape(in.Shape), Shape(want.Shape))
	}
	return nil
}

// readRaw takes a body that is the one input's data, without JSON.
func (q *query) readRaw(b *body, m *served, most int64) error {
	if len(m.inputs) != 1 {
		return bad("a request without JSON is for models with one input: model %s has %s", m.Name, namesOf(m.inputs))
	}
	want := m.info.Inputs[0]
	var text []byte
	size := b.length
	if size < 0 { // packed, or of unknown length
		var err error
		if text, err = q.text(b, -1, most); err != nil {
			return err
		}
		size = int64(len(text))
	}
	shape, err := rawShape(m.inputs[0], want.Shape == nil, size)
	if err != nil {
		return bad("input %s: %w", want.Name, err)
	}
	memory, err := q.lay(size)
	if err != nil {
		return err
	}
	if text != nil {
		copy(memory, text)
	} else if got, err := io.ReadFull(b, memory); err != nil {
		return cutOff(want.Name, got, len(memory), err)
	}
	q.inputs = []infer.Laid{laid(want, shape, 0, size)}
	q.wantAll(m, true)
	q.settle()
	return nil
}

// rawShape is the shape of so many bytes: the model's, in which one size may be open.
func rawShape(t TensorMetadata, unknown bool, size int64) ([]int64, error) {
	shape, open, rest := slices.Clone(t.Shape), -1, sizes[t.Datatype]
	for n, d := range shape {
		if d < 0 && open >= 0 || unknown {
			return nil, fmt.Errorf("its shape is %s, which so many bytes don't tell: send it with JSON", Shape(t.Shape))
		}
		if d < 0 {
			open = n
			continue
		}
		if d > 0 && rest > maxValues/d {
			return nil, fmt.Errorf("its shape is %s: more than %d bytes", Shape(t.Shape), int64(maxValues))
		}
		rest *= d
	}
	if unknown || open >= 0 && (rest == 0 || size%rest != 0) || open < 0 && size != rest {
		return nil, fmt.Errorf("it has %d bytes, its shape %s of %s wants %d%s", size, Shape(t.Shape), t.Datatype, rest,
			map[bool]string{true: " or a multiple"}[open >= 0])
	}
	if open >= 0 {
		shape[open] = size / rest
	}
	return shape, nil
}
