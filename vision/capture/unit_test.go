package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sightline-edge/sightline/vision/shm"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"rtsp://user:pass@10.0.0.7:554/cam":                     "rtsp://***@10.0.0.7:554/cam",
		"open http://u:p%40ss@cam/mjpeg?fps=5: refused":         "open http://***@cam/mjpeg?fps=5: refused",
		"http://cam/video?user=bob&password=geheim&x=1":         "http://cam/video?user=bob&password=***&x=1",
		"two rtsp://a:b@c/d and \"rtsp://e:f@g/h\"":             "two rtsp://***@c/d and \"rtsp://***@g/h\"",
		"rtsp://user:p/ss@cam/stream":                           "rtsp://***@cam/stream",
		"rtsp://cam:554/user@stream":                            "rtsp://cam:554/user@stream",
		"rtspsrc location=rtsp://c/d user-id=bob user-pw=x ! y": "rtspsrc location=rtsp://c/d user-id=*** user-pw=*** ! y",
		"/data/video.mp4":                                       "/data/video.mp4",
		"://":                                                   "://",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("http://", "user", "secret", "host/path?password=x")
	f.Fuzz(func(t *testing.T, scheme, user, password, rest string) {
		for _, s := range []string{scheme, user, password, rest} {
			_ = Redact(s) // whatever it is, it must not panic
		}
		if strings.ContainsAny(user+password, " \t\r\n\"'<>|/?#@:") || password == "" {
			return
		}
		if got := Redact("x http://" + user + ":\x00" + password + "\x00@host/"); strings.Contains(got, "\x00"+password+"\x00") {
			t.Errorf("%q is shown in %q", password, got)
		}
	})
}

func TestLogsAreRedacted(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(redacting{slog.NewTextHandler(&b, nil)}).With("k", "v").WithGroup("g")
	log.Info("open rtsp://u:secret@h/", "text", "rtsp://u:secret@h/", "err", errors.New("rtsp://u:secret@h/"))
	if got := b.String(); strings.Contains(got, "secret") || strings.Count(got, "***@h/") != 3 || !strings.Contains(got, "k=v") {
		t.Error(got)
	}
}

func TestNaturalOrder(t *testing.T) {
	got := []string{"b1", "a10.jpg", "a2.jpg", "a2.png", "a02.jpg", "a", "a2", "10", "9", "a99999999999999999999999", "a100000000000000000000000"}
	slices.SortFunc(got, natural)
	want := []string{"9", "10", "a", "a2", "a02.jpg", "a2.jpg", "a2.png", "a10.jpg", "a99999999999999999999999", "a100000000000000000000000", "b1"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// The example of RFC 2617 section 3.5, without the client's own nonce.
func TestDigest(t *testing.T) {
	got, err := digestAnswer(`Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`,
		"Mufasa", "Circle Of Life", "GET", "/dir/index.html")
	if err != nil || !strings.Contains(got, `response="670fd8c2df070c60b045671b8b24ff02"`) || !strings.Contains(got, `opaque="5ccc069c403ebaf9f0171e9517f40e41"`) {
		t.Errorf("%s, %v", got, err)
	}
	for _, c := range []string{`Digest algorithm=SHA-256, nonce="x"`, `Digest qop="auth-int"`, "Digest nonce=\"a\"\r\n"} {
		if got, err := digestAnswer(c, "u", "p\"", "GET", "/"); err == nil && strings.ContainsAny(got, "\r\n") {
			t.Errorf("%q: answered %s", c, got)
		}
	}
}

func FuzzJPEGStream(f *testing.F) {
	pic := jpegOf(f, plain(16, 16, 80))
	f.Add(append([]byte("--b\r\n\r\n"), pic...), 3)
	f.Add(append(bytes.Clone(pic[:200]), pic...), 7)
	f.Fuzz(func(t *testing.T, junk []byte, step int) {
		s := newJPEGStream(iotest.OneByteReader(bytes.NewReader(junk)))
		for {
			p, err := s.next()
			if err == nil && (!bytes.HasPrefix(p, []byte{0xff, 0xd8}) || !bytes.HasSuffix(p, []byte{0xff, 0xd9})) {
				t.Fatalf("a picture of % x", p)
			}
			if err != nil && !errors.Is(err, errCutPicture) {
				break
			}
		}
	})
}

// What stands around a picture must not change it.
func TestJPEGStreamFindsPicturesInJunk(t *testing.T) {
	noisy := plain(64, 64, 80)
	for i := range noisy.Pix {
		noisy.Pix[i] = byte(i * i * 31)
	}
	pic := jpegOf(t, noisy)
	if !bytes.Contains(pic, []byte{0xff, 0}) {
		t.Fatal("the picture has no stuffed byte: it tests too little")
	}
	in := slices.Concat([]byte("\xff\xd8\xff"), pic, []byte("junk\xff\xff"), pic, pic)
	s := newJPEGStream(bytes.NewReader(in))
	var good int
	for {
		p, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && bytes.Equal(p, pic) {
			good++
		}
	}
	if good < 2 {
		t.Errorf("%d of 3 pictures found", good)
	}
}

// lie is a worker that breaks the protocol.
func lie(how string) {
	c := shm.NewConn(3)
	var m message
	if _, err := c.Recv(&m); err != nil {
		return
	}
	tell := func(m message) { _ = c.Send(m) } // the agent may have had enough
	tell(message{Kind: tellOpen})
	tell(message{Kind: tellRoom, Bytes: 64 * 48 * 3})
	var got message
	if fds, err := c.Recv(&got); err != nil || len(fds) != 1 {
		return
	}
	frame := message{Kind: tellFrame, ID: got.Pool.ID, Frame: &taken{Width: 64, Height: 48, Mono: monotonic()}, Counts: counts{Captured: 1}}
	switch how {
	case "slot":
		frame.Slot = 99
	case "negative slot":
		frame.Slot = -1
	case "pool":
		frame.ID++
	case "size":
		frame.Frame.Width = 1 << 40
	case "negative size":
		frame.Frame.Height = -5
	case "nothing":
		frame.Frame = nil
	case "more than all":
		for range got.Pool.Slots {
			tell(frame)
		}
	case "old":
		frame.Frame.Mono -= (2 * staleAge).Nanoseconds()
		tell(frame)
		frame.Frame, frame.Slot, frame.Counts.Captured = &taken{Width: 64, Height: 48, Mono: monotonic()}, 1, 2
	case "kind":
		frame.Kind = "surprise"
	case "room":
		frame = message{Kind: tellRoom, Bytes: 1 << 50}
	}
	tell(frame)
	for {
		if _, err := c.Recv(&m); err != nil {
			return
		}
	}
}

func TestWorkerThatLiesIsEnded(t *testing.T) {
	pic := write(t, t.TempDir(), "a.jpg", jpegOf(t, plain(32, 32, 9)))
	for how, want := range map[string]string{
		"slot": "isn't the worker's", "negative slot": "isn't the worker's", "pool": "isn't the worker's",
		"size": "doesn't fit its slot", "negative size": "doesn't fit its slot", "nothing": "isn't the worker's",
		"more than all": "isn't the worker's", "kind": `unknown kind "surprise"`, "room": "are possible",
	} {
		t.Run(how, func(t *testing.T) {
			cfg := config(pic)
			cfg.SelfArgs = []string{how}
			r := start(t, cfg)
			<-r.done
			if r.err == nil || !strings.Contains(r.err.Error(), want) {
				t.Errorf("run: %v, want %q", r.err, want)
			}
		})
	}
}

// TestOldPicturesArentHandedOver: what the network held back shows a part that is
// elsewhere by now.
func TestOldPicturesArentHandedOver(t *testing.T) {
	cfg := config("http://127.0.0.1:1/")
	cfg.SelfArgs = []string{"old"}
	r := start(t, cfg)
	f := r.next(10 * time.Second)
	defer f.Release()
	if s := r.Stats(); f.Seq != 2 || s.Dropped.Stale != 1 || s.State != Streaming {
		t.Errorf("frame %d came first, %+v", f.Seq, s)
	}
}

func TestStoppedBeforeTheFirstFrame(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c, err := New(config("http://127.0.0.1:1/"))
	if err != nil {
		t.Fatal(err)
	}
	feed := c.Feed()
	if err := c.Run(ctx); err != nil {
		t.Errorf("run: %v", err)
	}
	if _, err := feed.Next(t.Context()); !errors.Is(err, context.Canceled) {
		t.Errorf("next: %v", err)
	}
}

func TestConfigThatCantWork(t *testing.T) {
	dir := t.TempDir()
	for want, change := range map[string]func(*Config){
		"frame slots":       func(c *Config) { c.Slots = 1 },
		"silence of":        func(c *Config) { c.Silence = time.Millisecond },
		"no end to loop at": func(c *Config) { c.Source, c.Loop = "http://cam/", true },
		"no time stamps":    func(c *Config) { c.Realtime = true },
		"no program":        func(c *Config) { c.SelfExecutable = "" },
		"silence of 1s is shorter than the time between two pictures at a rate of 0.5": func(c *Config) {
			c.Source, c.Rate, c.Silence = "http://cam/x.jpg", 0.5, time.Second
		},
		"name the program behind exec:":    func(c *Config) { c.Source, c.Format, c.Width, c.Height = "exec: ", "BGR24", 4, 4 },
		"format must say what the program": func(c *Config) { c.Source = "exec: cat" },
		"the address has no h":             func(c *Config) { c.Source = "http:///x" },
	} {
		cfg := config(dir)
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
	}
}
