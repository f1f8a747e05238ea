package wire

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
)

// lookedAt is a result that two models had their part in.
func lookedAt() *Result {
	r := seenResult()
	r.Looks = []*Look{
		{Model: "parts", Digest: strings.Repeat("ab", 32), Why: "part", Took: int64(9 * time.Millisecond), Score: proto.Float32(0.5)},
		{Model: "parts-large", Version: "2", Digest: strings.Repeat("ef", 32), Why: "band", Took: int64(81 * time.Millisecond), Score: proto.Float32(0)},
		{Model: "parts-far", Why: "rule", Missed: "breaker", Remote: true},
	}
	return r
}

// TestLookGolden: what was published decodes to the same for ever, a score of 0 apart
// from none.
func TestLookGolden(t *testing.T) {
	golden(t, "result.v3", &Record{Kind: &Record_Result{Result: lookedAt()}})
}

func TestLooksInABatch(t *testing.T) {
	want := &Batch{Epoch: 7}
	for i := range uint64(20) {
		r := lookedAt()
		r.Looks[1].Took += int64(i) * 1000
		if i%3 == 0 {
			r.Looks = r.Looks[:1]
		}
		want.Items = append(want.Items, Item{First: 1 + i, Last: 1 + i, Body: body(t, &Record{Kind: &Record_Result{Result: r}})})
	}
	made, err := EncodeBatch(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeBatch(made)
	if err != nil {
		t.Fatal(err)
	}
	for n := range want.Items {
		if string(got.Items[n].Body) != string(want.Items[n].Body) {
			t.Errorf("item %d came back changed", n)
		}
	}
	if each := len(made) / len(want.Items); each > 60 {
		t.Errorf("a result with its looks takes %d bytes", each)
	}
}

func TestTooMuchSaidOfLooks(t *testing.T) {
	long := lookedAt()
	long.Looks[1].Model = strings.Repeat("x", MaxName+1)
	many := lookedAt()
	for len(many.Looks) <= MaxLooks {
		many.Looks = append(many.Looks, many.Looks[0])
	}
	for want, r := range map[string]*Result{"": lookedAt(), "201 bytes as its name": long, "names 9 models": many} {
		err := r.checkLooks()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
