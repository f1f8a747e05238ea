package oip

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sightline-edge/sightline/vision/infer"
)

// FuzzRequest: any request is refused as the client's own fault, or its inputs lie in
// the arena as the model takes them; what it took is given back.
func FuzzRequest(f *testing.F) {
	good, length := binaryMixed(`,"parameters":{"timeout":5,"priority":2},"outputs":[{"name":"y"}]`)
	f.Add(length, "", true, []byte(good))
	f.Add("", "", true, []byte(mixedJSON()))
	f.Add("0", "", false, []byte("12345678"))
	f.Add("", "gzip", false, []byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"))
	f.Add("0", "deflate", false, []byte("\x78\x9c\x03\x00\x00\x00\x00\x01"))
	several := &served{Model{Name: "m"}, &known{info: infer.Info{
		Inputs:  []infer.Tensor{{Name: "x", Type: "float32", Shape: []int64{-1, 4}}, {Name: "b", Type: "float32", Shape: []int64{2}}, {Name: "k", Type: "int64", Shape: []int64{}}},
		Outputs: []infer.Tensor{{Name: "y", Type: "float32", Shape: []int64{-1, 2}}},
	}}}
	one := &served{Model{Name: "m"}, &known{info: infer.Info{
		Inputs: []infer.Tensor{{Name: "x", Type: "uint16", Shape: []int64{-1, 2}}}, Outputs: several.info.Outputs,
	}}}
	for _, m := range []*served{several, one} {
		for _, t := range m.info.Inputs {
			m.inputs = append(m.inputs, metadataOf(t))
		}
		m.outputs = append(m.outputs, metadataOf(m.info.Outputs[0]))
	}
	const most = 64 << 10
	f.Fuzz(func(t *testing.T, length, encoding string, many bool, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/v2/models/m/infer", bytes.NewReader(body))
		r.Header.Set(headerLength, length)
		r.Header.Set("Content-Encoding", encoding)
		m := one
		if many {
			m = several
		}
		a := infer.New(infer.Config{}).NewArena()
		defer a.Release()
		room := budget{all: 4 * most, left: 4 * most}
		q := &query{room: &room, arena: a}
		err := q.read(httptest.NewRecorder(), r, m, most)
		q.close()
		if room.left != 4*most {
			t.Errorf("%d bytes of room are lost", 4*most-room.left)
		}
		if err != nil {
			if code := codeOf(err); code < 400 || code >= 500 {
				t.Errorf("%d %v", code, err)
			}
			return
		}
		for n, in := range q.inputs {
			size, err := Bytes(m.inputs[n].Datatype, in.Shape)
			if in.Name != m.inputs[n].Name || err != nil || int64(in.Size) != size || fitsModel(&wireTensor{Datatype: m.inputs[n].Datatype, Shape: in.Shape}, m.info.Inputs[n]) != nil {
				t.Error(fmt.Sprintf("input %d was taken as %+v", n, in), err)
			}
		}
	})
}

// FuzzEntries: an array is cut as a decoder cuts it.
func FuzzEntries(f *testing.F) {
	f.Add(`[ {"a":[1,2],"b":"]},\"["} , [[3],{}],"x,\\",null ]`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, text string) {
		var want []json.RawMessage
		if len(text) == 0 || text[0] != '[' || json.Unmarshal([]byte(text), &want) != nil {
			return
		}
		n := 0
		for entry := range entries([]byte(text)) {
			if n == len(want) || string(entry) != string(want[n]) {
				t.Fatalf("entry %d of %s is %s", n, text, entry)
			}
			n++
		}
		if n != len(want) {
			t.Errorf("%s has %d entries, want %d", text, n, len(want))
		}
	})
}
