package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sightline-edge/sightline/vision"
)

// httpHere opens an HTTP camera in the test's own process, for waits of 300 ms.
func httpHere(t *testing.T, at string, change func(*order)) (reader, opened, error) {
	t.Helper()
	o := order{Kind: httpCamera, At: at, Read: 300}
	if change != nil {
		change(&o)
	}
	r, desc, err := openHTTP(t.Context(), o)
	if err == nil {
		t.Cleanup(sync.OnceFunc(r.Close))
	}
	return r, desc, err
}

func heapRoom(n int) ([]byte, error) { return make([]byte, n), nil }

// site serves h and counts connections.
func served(t *testing.T, h http.HandlerFunc) (at string, connections *atomic.Int64) {
	t.Helper()
	connections = &atomic.Int64{}
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	t.Cleanup(srv.CloseClientConnections)
	return srv.URL, connections
}

func givePicture(w http.ResponseWriter, data []byte) {
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	_, _ = w.Write(data) // a viewer that left is fine
}

// TestSnapshots: an address with one picture is fetched again and again, on one
// connection, at the rate that is asked for; the same bytes are pictures too.
func TestSnapshots(t *testing.T) {
	data := jpegOf(t, plain(64, 48, 50))
	at, connections := served(t, func(w http.ResponseWriter, _ *http.Request) { givePicture(w, data) })
	r, desc, err := httpHere(t, at, func(o *order) { o.Options.Rate = 50 })
	if err != nil || desc.Rate != 50 || desc.Codec != "snapshot" {
		t.Fatalf("%+v, %v", desc, err)
	}
	began := time.Now()
	last := int64(0)
	for i := range 20 {
		s, err := r.Read(heapRoom)
		if err != nil || s.Width != 64 || s.Timing != vision.Arrived || s.Mono <= last {
			t.Fatalf("picture %d: %+v, %v", i, s, err)
		}
		last = s.Mono
	}
	if d := time.Since(began); d < 19*20*time.Millisecond-10*time.Millisecond {
		t.Errorf("20 pictures in %v, 50 a second were asked for", d)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestSnapshotNotModified: what the camera says is no new picture isn't one, and
// a camera that says so isn't silent.
func TestSnapshotNotModified(t *testing.T) {
	t.Parallel()
	var version, unchanged atomic.Int64
	at, _ := served(t, func(w http.ResponseWriter, r *http.Request) {
		tag, stamp := fmt.Sprintf(`"v%d"`, version.Load()), time.Unix(1e9+version.Load(), 0).UTC().Format(http.TimeFormat)
		header := "ETag"
		if r.URL.Path == "/time" {
			header, tag = "Last-Modified", stamp
		}
		w.Header().Set(header, tag)
		if r.Header.Get("If-None-Match") == tag || r.Header.Get("If-Modified-Since") == tag {
			unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		givePicture(w, jpegOf(t, plain(64, 48, byte(version.Load()))))
	})
	cfg := config(at + "/tag")
	cfg.Rate, cfg.Silence = 40, 2*beatEvery
	r := start(t, cfg)
	r.next(10 * time.Second).Release()
	began := time.Now()
	eventually(t, 10*time.Second, "longer than a silent camera may be", func() bool { return time.Since(began) > 9*cfg.Silence/4+beatEvery })
	if s := r.Stats(); s.Captured != 1 || s.Restarts != 0 || s.State != Streaming {
		t.Errorf("%+v", s)
	}
	version.Add(77)
	f := r.next(10 * time.Second)
	if f.Pix[0] != 77 || unchanged.Load() < 10 {
		t.Errorf("gray %d after %d times of nothing new", f.Pix[0], unchanged.Load())
	}
	f.Release()

	here, _, err := httpHere(t, at+"/time", func(o *order) { o.Options.Rate = 100 })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := here.Read(heapRoom); err != nil {
		t.Fatal(err)
	}
	if s, err := here.Read(heapRoom); !errors.Is(err, errNothing) {
		t.Errorf("%+v, %v", s, err)
	}
	version.Add(1)
	if s, err := here.Read(heapRoom); err != nil || s.Width != 64 {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestSnapshotTroubles: a bad answer between good ones costs that picture alone.
func TestSnapshotTroubles(t *testing.T) {
	t.Parallel()
	data := noisyJPEG(t, 64, 48)
	var n atomic.Int64
	at, _ := served(t, func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) {
		case 2:
			http.Error(w, "busy", http.StatusServiceUnavailable)
		case 4: // ends early
			w.Header().Set("Content-Type", "image/jpeg")
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			_, _ = w.Write(data[:100])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case 6:
			givePicture(w, data[:len(data)/2]) // whole, but no picture
		case 8:
			givePicture(w, nil)
		case 10:
			panic(http.ErrAbortHandler)
		case 13:
			w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=b")
			_, _ = w.Write([]byte("--b\r\n"))
		default:
			givePicture(w, data)
		}
	})
	r, _, err := httpHere(t, at, func(o *order) { o.Options.Rate, o.Read = 100, 2000 })
	if err != nil {
		t.Fatal(err)
	}
	var incomplete, unreadable uint64
	good := 0
	for {
		s, err := r.Read(heapRoom)
		if bad := (errUnreadable{}); errors.As(err, &bad) {
			unreadable++
			continue
		}
		if errors.Is(err, errNoSnapshot) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		good++
		incomplete += s.incomplete
	}
	if good != 7 || incomplete != 2 || unreadable != 1 {
		t.Errorf("%d good, %d incomplete, %d unreadable of 13 answers", good, incomplete, unreadable)
	}
}

// TestMJPEGCountsWhatIsCut: pictures that others interrupt are lost on the way.
func TestMJPEGCountsWhatIsCut(t *testing.T) {
	pic := noisyJPEG(t, 64, 48)
	half := pic[:len(pic)-len(pic)/4] // within its data, not within a segment before them
	at := raw(t, func(ctx context.Context, c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n")
		_, _ = c.Write(bytes.Join([][]byte{half, pic, half, half, pic, pic, half, pic}, nil))
		<-ctx.Done()
	})
	r, _, err := httpHere(t, at, nil)
	if err != nil {
		t.Fatal(err)
	}
	var good, cut uint64
	for good < 4 {
		s, err := r.Read(heapRoom)
		if err != nil || s.Timing != vision.Arrived || s.Mono == 0 {
			t.Fatalf("%+v, %v", s, err)
		}
		good += 1 + s.skipped
		cut += s.incomplete
	}
	if good != 4 || cut != 4 {
		t.Errorf("%d whole, %d cut", good, cut)
	}
}

// TestStreamWithoutAType: what has a length is one picture.
func TestStreamWithoutAType(t *testing.T) {
	pic := jpegOf(t, plain(64, 48, 7))
	at, _ := served(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(pic)))
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(pic)
	})
	if _, desc, err := httpHere(t, at, nil); err != nil || desc.Codec != "snapshot" {
		t.Errorf("%+v, %v", desc, err)
	}
}
