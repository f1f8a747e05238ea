package infer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
)

func testModel(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestWeightsComeInside: of a model with its weights in a second file, one of
// them in a branch, comes one that gives what the same model with its weights inside gives.
func TestWeightsComeInside(t *testing.T) {
	model := testModel(t, "external.onnx")
	names, err := External(model)
	if diff := cmp.Diff([]string{"external.onnx.data"}, names); err != nil || diff != "" {
		t.Fatalf("%v, files (-want +got):\n%s", err, diff)
	}
	if _, err := Describe(model); !errors.Is(err, errExternal) || !strings.Contains(err.Error(), `"external.onnx.data"`) {
		t.Errorf("the model alone: %v", err)
	}
	opened := 0
	open := func(name string) ([]byte, error) {
		opened++
		return os.ReadFile("testdata/" + name)
	}
	whole, err := Inline(model, open)
	if err != nil || opened != 1 {
		t.Fatalf("%v, the file was opened %d times", err, opened)
	}
	if again, err := Inline(model, open); err != nil || !bytes.Equal(whole, again) {
		t.Errorf("the same files give other bytes: %v", err)
	}
	if names, err := External(whole); err != nil || names != nil {
		t.Errorf("it still needs %q, %v", names, err)
	}
	same, err := Inline(whole, nil)
	if err != nil || &same[0] != &whole[0] {
		t.Errorf("a whole model isn't given as it is: %v", err)
	}
	path := t.TempDir() + "/whole.onnx"
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	sameAsFastestDet(t, path, Options{})
}

// outsideWeight is a model with one weight in a second file; entries are its
// external_data, dims and kind its shape.
func outsideWeight(entries map[string]string, kind uint64, dims ...int64) []byte {
	field := func(b []byte, num protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
	}
	number := func(b []byte, num protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), v)
	}
	var packed []byte
	for _, d := range dims {
		packed = protowire.AppendVarint(packed, uint64(d))
	}
	weight := number(field(field(nil, 1, packed), 8, []byte("w")), 2, kind)
	for k, v := range entries {
		weight = field(weight, 13, field(field(nil, 1, []byte(k)), 2, []byte(v)))
	}
	weight = number(weight, 14, 1)
	return field(number(nil, 1, 8), 7, field(field(nil, 1, field(nil, 4, []byte("Conv"))), 5, weight))
}

func TestWeightsThatAreRefused(t *testing.T) {
	const f32 = 1
	at := func(location string, more ...string) map[string]string {
		m := map[string]string{"location": location}
		for n := 0; n < len(more); n += 2 {
			m[more[n]] = more[n+1]
		}
		return m
	}
	for name, c := range map[string]struct {
		model []byte
		want  string
	}{
		"folder above":    {outsideWeight(at("../w.data"), f32, 2), `"../w.data", which is no file of the model's own folder`},
		"folder inside":   {outsideWeight(at("a/../../w.data"), f32, 2), "own folder"},
		"absolute":        {outsideWeight(at("/etc/passwd"), f32, 2), "own folder"},
		"backslash":       {outsideWeight(at(`..\w.data`), f32, 2), "own folder"},
		"zero byte":       {outsideWeight(at("w.data\x00.txt"), f32, 2), "own folder"},
		"no name":         {outsideWeight(at(""), f32, 2), "own folder"},
		"the folder":      {outsideWeight(at("."), f32, 2), "own folder"},
		"not UTF-8":       {outsideWeight(at("w\xff"), f32, 2), "own folder"},
		"not there":       {outsideWeight(at("none"), f32, 2), "second file: no such file"},
		"offset beyond":   {outsideWeight(at("w.data", "offset", "101"), f32, 2), "reach beyond"},
		"length beyond":   {outsideWeight(at("w.data", "length", "101"), f32, 2), "reach beyond w.data, which has 100"},
		"both too large":  {outsideWeight(at("w.data", "offset", "9223372036854775807", "length", "9223372036854775807"), f32, 2), "reach beyond"},
		"negative":        {outsideWeight(at("w.data", "offset", "-4"), f32, 2), `offset "-4" is no number`},
		"no number":       {outsideWeight(at("w.data", "length", "8 bytes"), f32, 2), `length "8 bytes" is no number`},
		"another shape":   {outsideWeight(at("w.data", "length", "8"), f32, 3), "float32 3 takes 12 bytes, w.data holds 8"},
		"rest of a file":  {outsideWeight(at("w.data", "offset", "96"), f32, 2), "takes 8 bytes, w.data holds 4"},
		"huge shape":      {outsideWeight(at("w.data", "length", "8"), f32, 1<<40, 1<<40), "holds 8"},
		"negative shape":  {outsideWeight(at("w.data", "length", "8"), f32, -2), "holds 8"},
		"half a byte":     {outsideWeight(at("w.data", "length", "1"), 22, 3), "takes 2 bytes"},
		"many dimensions": {outsideWeight(at("w.data"), f32, make([]int64, 17)...), "more than 16 dimensions"},
	} {
		_, err := Inline(c.model, func(name string) ([]byte, error) {
			if name != "w.data" {
				return nil, errors.New("no such file")
			}
			return make([]byte, 100), nil
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an error about %q", name, err, c.want)
		}
	}
	for name, model := range map[string][]byte{
		"the whole file": outsideWeight(at("w.data"), f32, 5, 5), "a part": outsideWeight(at("w.data", "offset", "4", "length", "8"), f32, 2),
		"odd nibbles": outsideWeight(at("w.data", "length", "2"), 22, 3), "unknown type": outsideWeight(at("w.data", "length", "7"), 99, 3),
		"empty": outsideWeight(at("w.data", "length", "0"), f32, 0),
	} {
		if _, err := Inline(model, func(string) ([]byte, error) { return make([]byte, 100), nil }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestModelsThatAreNestedOrShare: graphs within graphs without end, and many
// weights that share one large range, end in an error at once.
func TestModelsThatAreNestedOrShare(t *testing.T) {
	field := func(num protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), v)
	}
	deep := []byte{}
	for range 5000 {
		deep = field(1, field(5, field(6, deep))) // a graph's node's attribute's graph
	}
	began := time.Now()
	if _, err := Inline(field(7, deep), nil); err == nil || !strings.Contains(err.Error(), "nested") {
		t.Errorf("deep graphs: %v", err)
	}
	one := outsideWeight(map[string]string{"location": "w", "length": "67108864"}, 1, 1<<24)
	weight := one[bytes.IndexByte(one, 42):] // its initializer, field 5
	many := field(7, bytes.Repeat(weight, 40))
	if _, err := Inline(many, func(string) ([]byte, error) { return make([]byte, 1<<26), nil }); err == nil || !strings.Contains(err.Error(), fmt.Sprint(MaxModel)) {
		t.Errorf("weights of 2.5 GiB: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("that took %v", took)
	}
}
