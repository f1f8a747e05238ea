package oip

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sightline-edge/sightline/vision/infer"
)

// answered is an output in an answer: as JSON, or its data behind it.
type answered struct {
	Tensor
	binary bool
}

// errLeft is that a client left with half an answer: nothing more can be told.
var errLeft = fault{statusGone, errors.New("the client has gone")}

// answer writes the outputs that are wanted straight from the arena.
func (q *query) answer(w http.ResponseWriter, m *served, ran []infer.Laid, t *times) error {
	outputs, tail, err := q.outputs(m, ran)
	if err != nil {
		return err
	}
	var text jsonText
	if err := text.answer(m, q.ID, outputs); err != nil {
		return bad("%w", err)
	}
	head, length := w.Header(), text.length()
	head.Set("Content-Type", "application/json")
	if tail >= 0 {
		head.Set("Content-Type", "application/octet-stream")
		head.Set(headerLength, strconv.FormatInt(length, 10))
	}
	head.Set("Content-Length", strconv.FormatInt(length+max(tail, 0), 10))
	if text.away == 0 {
		text.to = w // all of it is here
	} else {
		text = jsonText{to: w, buf: text.buf[:0]}
		_ = text.answer(m, q.ID, outputs) // it could be written
	}
	text.flush()
	err = text.err
	for n := range outputs {
		if outputs[n].binary && err == nil {
			_, err = w.Write(outputs[n].Data)
		}
	}
	if err != nil {
		return errLeft
	}
	t.told = time.Now()
	return nil
}

// outputs are those that are wanted; tail is how many bytes stand behind the JSON, -1
// where none of them does.
func (q *query) outputs(m *served, ran []infer.Laid) (list []answered, tail int64, err error) {
	list, tail = make([]answered, 0, len(q.wanted)), -1
	for _, want := range q.wanted {
		i := slices.IndexFunc(ran, func(l infer.Laid) bool { return l.Name == want.name })
		if i < 0 {
			return nil, 0, fmt.Errorf("model %s gave no output %s", m.Name, want.name)
		}
		out := Tensor{Name: want.name, Datatype: datatypes[ran[i].Type], Shape: ran[i].Shape, Data: q.arena.Output(ran[i])}
		list = append(list, answered{out, want.binary})
		if want.binary {
			tail = max(tail, 0) + int64(len(out.Data))
		}
	}
	return list, tail, nil
}

// pieceBytes is about how much JSON is written at once.
const pieceBytes = 32 << 10

// jsonText is JSON that is made piece by piece, since it may be far longer than the
// values: once to learn its length, and again to send it. What fits one piece is made
// once.
type jsonText struct {
	to   io.Writer // nil: it is counted alone
	err  error     // of to
	buf  []byte
	away int64 // bytes that went before those in buf
}

func (j *jsonText) length() int64 { return j.away + int64(len(j.buf)) }

func (j *jsonText) flush() {
	if j.to != nil && j.err == nil {
		_, j.err = j.to.Write(j.buf)
	}
	j.away += int64(len(j.buf))
	j.buf = j.buf[:0]
}

// answer makes the JSON of an answer.
func (j *jsonText) answer(m *served, id string, outputs []answered) error {
	if j.buf == nil {
		j.buf = make([]byte, 0, 512)
	}
	j.buf = appendQuoted(append(j.buf, `{"model_name":`...), m.Name)
	if m.Version != "" {
		j.buf = appendQuoted(append(j.buf, `,"model_version":`...), m.Version)
	}
	if id != "" {
		j.buf = appendQuoted(append(j.buf, `,"id":`...), id)
	}
	j.buf = append(j.buf, `,"outputs":[`...)
	for n := range outputs {
		if n > 0 {
			j.buf = append(j.buf, ',')
		}
		if err := j.tensor(&outputs[n]); err != nil {
			return err
		}
	}
	j.buf = append(j.buf, "]}"...)
	return nil
}

func (j *jsonText) tensor(t *answered) error {
	j.buf = appendQuoted(append(j.buf, `{"name":`...), t.Name)
	j.buf = append(append(append(j.buf, `,"datatype":"`...), t.Datatype...), `","shape":[`...)
	for n, d := range t.Shape {
		if n > 0 {
			j.buf = append(j.buf, ',')
		}
		j.buf = strconv.AppendInt(j.buf, d, 10)
	}
	if t.binary {
		j.buf = strconv.AppendInt(append(j.buf, `],"parameters":{"binary_data_size":`...), int64(len(t.Data)), 10)
		j.buf = append(j.buf, "}}"...)
		return nil
	}
	j.buf = append(j.buf, `],"data":`...)
	if err := j.values(&t.Tensor); err != nil {
		return err
	}
	j.buf = append(j.buf, '}')
	return nil
}

// values makes a flat array of a tensor's data.
func (j *jsonText) values(t *Tensor) error {
	j.buf = append(j.buf, '[')
	var err error
	for rest, n := t.Data, 0; len(rest) > 0; n++ {
		if n > 0 {
			j.buf = append(j.buf, ',')
		}
		if len(j.buf) >= pieceBytes {
			j.flush()
		}
		if j.buf, rest, err = appendText(j.buf, t.Datatype, rest); err != nil {
			return fmt.Errorf("value %d of %s: %w", n, t.Name, err)
		}
	}
	j.buf = append(j.buf, ']')
	return nil
}

// appendQuoted appends a text as JSON.
func appendQuoted(dst []byte, text string) []byte {
	odd := func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"\<>&`, r) }
	if !strings.ContainsFunc(text, odd) {
		return append(append(append(dst, '"'), text...), '"')
	}
	quoted, _ := json.Marshal(text) // a string has JSON
	return append(dst, quoted...)
}
