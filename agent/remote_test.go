package agent

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sightline-edge/sightline/agent/oip"
	"github.com/sightline-edge/sightline/vision"
	"github.com/sightline-edge/sightline/vision/infer"
	"github.com/sightline-edge/sightline/vision/shm"
)

// peerDigest is what the peer says of its model's file.
var peerDigest = strings.Repeat("77ab", 16)

// peer is a server of the Open Inference Protocol with the shipped model behind it: it
// takes pictures of the model's own size, and gives finished detections.
type peer struct {
	*httptest.Server
	t             testing.TB
	worker        *infer.Worker
	labels        map[string]int
	width, height int
	mode          atomic.Value // how it answers
	asked         atomic.Int64
	free          chan struct{} // closed when those that hang may end
}

func newPeer(t testing.TB, confidence float32) *peer {
	t.Helper()
	l := shipped(t, "remote", confidence)
	works(t, l.Model)
	info, err := l.Model.Ready(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, worker: l.Model, labels: map[string]int{}, width: info.Width, height: info.Height, free: make(chan struct{})}
	for n, name := range info.Labels {
		p.labels[name] = n
	}
	p.mode.Store("well")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/models/parts", p.metadata)
	mux.HandleFunc("POST /v2/models/parts/infer", p.infer)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(p.free)
		p.CloseClientConnections()
		p.Close()
	})
	return p
}

func (p *peer) metadata(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, `{"name":"parts","platform":"onnx","inputs":[{"name":"images","datatype":"FP32","shape":[1,3,%d,%d]}],`+
		`"outputs":[{"name":"found","datatype":"FP32","shape":[1,-1,6]}],"properties":{"digest":%q}}`, p.height, p.width, peerDigest)
}

func (p *peer) infer(w http.ResponseWriter, r *http.Request) {
	p.asked.Add(1)
	body, err := io.ReadAll(r.Body)
	n, _ := strconv.Atoi(r.Header.Get("Inference-Header-Content-Length"))
	if err != nil || n <= 0 || n >= len(body) {
		http.Error(w, "the request was cut off", http.StatusBadRequest)
		return
	}
	switch p.mode.Load() {
	case "hangs":
		<-p.free
	case "late":
		select {
		case <-p.free:
		case <-time.After(700 * time.Millisecond):
		}
	case "refuses":
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, `{"error":"no room"}`)
		return
	case "breaks off":
		panic(http.ErrAbortHandler)
	case "garbage":
		io.WriteString(w, "<html>hello</html>")
		return
	case "elsewhere":
		http.Redirect(w, r, "https://192.0.2.1/", http.StatusTemporaryRedirect)
		return
	}
	rows := p.look(body[n:])
	if p.mode.Load() == "nan" && len(rows) > 0 {
		rows[4] = float32(math.NaN())
	}
	p.answer(w, rows)
}

// look runs the model on the tensor, which is a picture of its own size.
func (p *peer) look(tensor []byte) (rows []float32) {
	size := p.width * p.height
	if len(tensor) != 12*size {
		p.t.Errorf("the tensor has %d bytes", len(tensor))
		return nil
	}
	pool, err := shm.NewPool(1, 1, 3*size)
	if err != nil {
		p.t.Error(err)
		return nil
	}
	defer pool.Release()
	for i := range size {
		for plane := range 3 { // RGB planes of 0 to 1; BGR pixels
			v := math.Float32frombits(binary.LittleEndian.Uint32(tensor[4*(plane*size+i):]))
			pool.Slot(0)[3*i+2-plane] = byte(math.Round(float64(v) * 255))
		}
	}
	f := vision.Frame{Width: p.width, Height: p.height, Stride: 3 * p.width, Format: vision.BGR24}
	r, err := p.worker.Infer(context.Background(), &f, pool, 0)
	p.worker.Forget(pool)
	if err != nil {
		p.t.Error(err)
	}
	for _, d := range r.Detections {
		rows = append(rows, d.Box.X, d.Box.Y, d.Box.X+d.Box.W, d.Box.Y+d.Box.H, d.Score, float32(p.labels[d.Label]))
	}
	return rows
}

func (p *peer) answer(w http.ResponseWriter, rows []float32) {
	var data []byte
	for _, v := range rows {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	head, err := json.Marshal(map[string]any{"model_name": "parts", "outputs": []any{map[string]any{
		"name": "found", "datatype": "FP32", "shape": []int{1, len(rows) / 6, 6}, "parameters": map[string]any{"binary_data_size": len(data)},
	}}})
	if err != nil {
		p.t.Error(err)
	}
	w.Header().Set("Inference-Header-Content-Length", strconv.Itoa(len(head)))
	w.Write(append(head, data...))
}

// faraway is a loadout whose large model is the peer's.
func faraway(t testing.TB, p *peer, timeout time.Duration, set Cascade) Loadout {
	t.Helper()
	l := shipped(t, "first", doubting)
	l.Rule = ruleOf(t, crack)
	info, err := p.worker.Ready(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set.Remote, err = NewRemote(RemoteConfig{
		Server: oip.ClientConfig{URL: p.URL}, Model: "parts", Timeout: timeout,
		Options: infer.Options{Family: "yolov8", Labels: info.Labels, Roles: l.Track.Roles, Confidence: doubting},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Remote.Close)
	l.Cascade = &set
	return l
}

// atRemote runs a station over the loadout until its server is measured.
func atRemote(t testing.TB, l Loadout) (*running, *Station) {
	t.Helper()
	cfg := triggered(t, l)
	cfg.Cascade = l.Cascade
	r := plant(t, []*infer.Worker{l.Model}, cfg)
	s := r.ready()
	r.eventually("a remote model that is measured", func() bool { _, _, n := l.Cascade.Remote.quantiles(); return n >= practiceRuns })
	return r, s
}

// TestRemoteLargeModel: a model on another machine looks at parts in doubt as one here
// does, and the verdict says that it was there.
func TestRemoteLargeModel(t *testing.T) {
	p := newPeer(t, trusting)
	r, s := atRemote(t, faraway(t, p, 5*time.Second, Cascade{Band: &Band{0.2, 0.3}}))
	a, i := r.seen()
	if a.Verdict != vision.Pass || looks(i) != "first part 0.24, parts band 0.00" || i.Model.Name != "parts" || i.Model.Digest != peerDigest {
		t.Errorf("%+v, looked: %s", a, looks(i))
	}
	if last := i.Looks[1]; !last.Remote || last.Took <= 0 || i.Looks[0].Remote {
		t.Errorf("%+v", i.Looks)
	}
	n := r.named("gate").Cascade
	if n == nil || !n.Remote || n.Breaker == nil || n.Breaker.Open || n.Looks[1].Count == 0 || s.budget.stats().Cost <= 0 {
		t.Errorf("%+v", n)
	}
}

// TestRemoteLargeModelSees: what it sees lies where the part is in the whole picture.
func TestRemoteLargeModelSees(t *testing.T) {
	p := newPeer(t, doubting)
	r, _ := atRemote(t, faraway(t, p, 5*time.Second, Cascade{Band: &Band{0.2, 0.3}}))
	a, i := r.seen()
	if a.Verdict != vision.Fail || i.Model.Name != "parts" || len(i.Part.Defects) == 0 {
		t.Fatalf("%+v, looked: %s", a, looks(i))
	}
	if x, y := i.Part.Defects[0].Box.Center(); !i.Part.Box.Contains(x, y) {
		t.Errorf("the defect at %v isn't on the part at %v", i.Part.Defects[0].Box, i.Part.Box)
	}
}

// TestRemoteFaults: whatever a server does, each part has its answer in time, and a
// server that fails again and again is left alone until it is well.
func TestRemoteFaults(t *testing.T) {
	t.Parallel()
	for mode, missed := range map[string]string{
		"hangs": MissedLate, "late": MissedLate, "refuses": MissedFailed, "breaks off": MissedFailed, "garbage": MissedFailed, "nan": MissedFailed, "elsewhere": MissedFailed,
	} {
		t.Run(mode, func(t *testing.T) {
			p := newPeer(t, doubting)
			r, _ := atRemote(t, faraway(t, p, 400*time.Millisecond, Cascade{Band: &Band{0.2, 0.3}, Small: true}))
			p.mode.Store(mode)
			was := map[string]int{}
			r.eventually("the server is left alone", func() bool {
				a, i := r.seen()
				if last := i.Looks[len(i.Looks)-1]; a.Verdict != vision.Fail || last.Missed == "" || i.Model.Name != "first" {
					t.Errorf("%v %s, looked: %s", a.Verdict, a.Reason, looks(i))
				} else {
					was[last.Missed]++
				}
				if a.Latency > 5*time.Second {
					t.Errorf("the answer took %v", a.Latency)
				}
				return was[MissedBreaker] >= 2
			})
			if was[missed] < breakAfter-1 { // a busy machine is late with its own part, too
				t.Errorf("%v", was)
			}
			r.eventually("a warning", func() bool { return r.hasWarning("large_model_away") })
			if n := r.named("gate").Cascade.Breaker; !n.Open || n.Opened == 0 {
				t.Errorf("%+v", n)
			}
			p.mode.Store("well")
			r.eventually("the server is asked again", func() bool { _, i := r.seen(); return i.Model.Name == "parts" })
			r.eventually("no warning", func() bool { return !r.hasWarning("large_model_away") })
		})
	}
}

// TestRemoteThatDoesNotFit: a server's model that isn't what was said of it is told so.
func TestRemoteThatDoesNotFit(t *testing.T) {
	p := newPeer(t, doubting)
	r, err := NewRemote(RemoteConfig{Server: oip.ClientConfig{URL: p.URL}, Model: "parts", Timeout: 10 * time.Second, Options: infer.Options{Family: "segmentation", Labels: []string{"a", "b"}}})
	if err != nil {
		t.Fatal(err)
	}
	f := vision.Frame{Pix: make([]byte, 12), Width: 2, Height: 2, Stride: 6, Format: vision.BGR24}
	if _, err := r.look(t.Context(), &f); err == nil || !strings.Contains(err.Error(), "feed the model parts") {
		t.Error(err)
	}
	if _, err := NewRemote(RemoteConfig{Server: oip.ClientConfig{URL: "https://u:secret@x"}}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	for element, datatype := range map[string]string{"float32": "FP32", "int64": "INT64", "": "STRING"} {
		if element != elementOf(datatype) || element != "" && datatypeOf(element) != datatype {
			t.Error(element, datatype)
		}
	}
}

// TestSlowServerIsTriedAgain: what a server took once doesn't keep it out for ever.
func TestSlowServerIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &Remote{}
		for range practiceRuns {
			r.took(300 * time.Millisecond)
		}
		r.tried = time.Now()
		by := func() time.Time { return time.Now().Add(100 * time.Millisecond) }
		if why := r.hindrance(1, by()); why != MissedLate {
			t.Errorf("%q", why)
		}
		time.Sleep(retryAfter)
		if why := r.hindrance(1, by()); why != "" {
			t.Errorf("after a while: %q", why)
		}
		for range 9 {
			r.took(20 * time.Millisecond)
		}
		r.tried = time.Now()
		if why := r.hindrance(1, by()); why != "" {
			t.Errorf("once it is fast: %q", why)
		}
		if why := r.hindrance(6, by()); why != MissedLate {
			t.Errorf("six pictures: %q", why)
		}
	})
}
