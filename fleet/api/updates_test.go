package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"

	"github.com/sightline-edge/sightline/internal/auth"
	"github.com/sightline-edge/sightline/sync/wire"
	"github.com/sightline-edge/sightline/updater/bundle"
	"github.com/sightline-edge/sightline/updater/publish"
)

// aBundle is an archive with a model of so many bytes that is none.
func aBundle(t testing.TB, size int) (raw []byte, digest string) {
	t.Helper()
	model := make([]byte, size)
	for i := range model { // zstd mustn't make it small
		sum := sha256.Sum256(model[max(0, i-32):i])
		model[i] = sum[0]
	}
	manifest := fmt.Sprintf("manifest: 1\nname: caps\nversion: 1.2.0\nlicence: Apache-2.0\nmodel:\n  file: model.onnx\n  sha256: %x\n  family: yolov8\n"+
		"  labels: [{name: part, role: part}]\n", sha256.Sum256(model))
	var b bytes.Buffer
	digest, err := bundle.Pack(fstest.MapFS{bundle.ManifestFile: {Data: []byte(manifest)}, "model.onnx": {Data: model}}, &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), digest
}

// overTLS serves the fleet as it is served, and gives a client for each role
// and for certificates.
type overTLS struct {
	*fleet
	server *httptest.Server
}

func (f *fleet) overTLS() *overTLS {
	f.Helper()
	s := &overTLS{f, httptest.NewUnstartedServer(f.Handler())}
	s.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.server.Config.ReadTimeout, s.server.Config.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	s.server.StartTLS()
	f.Cleanup(s.server.Close)
	return s
}

func (s *overTLS) do(role auth.Role, certs []tls.Certificate, method, path string, body io.Reader, length int64, header ...string) (*http.Response, []byte) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.server.URL+path, body)
	s.must(err)
	r.ContentLength = length
	if role != 0 {
		r.Header.Set("Authorization", "Bearer "+s.tokens[role])
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	transport := s.server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.Certificates = certs
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	w, err := client.Do(r)
	s.must(err)
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	s.must(err)
	return w, text
}

// enrolled is a device's certificate, and what it was answered.
func (f *fleet) enrolled() (tls.Certificate, wire.EnrollAnswer) {
	f.Helper()
	token, err := f.Server.cfg.Enroll.Token(f.Context(), "g", 0)
	f.must(err)
	key, csr := newKey(f.TB.(*testing.T))
	w := f.ask(0, "POST", wire.EnrollPath, asJSON(f.TB.(*testing.T), wire.EnrollRequest{Token: token.String(), CSR: csr}))
	answer := body[wire.EnrollAnswer](f, w)
	block, _ := pem.Decode([]byte(answer.Certificate))
	return tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}, answer
}

// TestBundleFromPublisherToDevice: the whole way over TLS: keys, root, a bundle
// that comes slower than a request may take, targets, and a device that fetches
// it in ranges.
func TestBundleFromPublisherToDevice(t *testing.T) {
	f := newFleet(t)
	s := f.overTLS()
	if _, a := f.enrolled(); a.Root != nil {
		t.Error("a root is told before there is one")
	}
	var online publish.OnlineKeys
	w, text := s.do(auth.Operator, nil, "GET", "/v1/updates/keys", nil, 0)
	if f.must(json.Unmarshal(text, &online)); w.StatusCode != 200 || online.Snapshot == nil {
		t.Fatalf("%d %s", w.StatusCode, text)
	}
	_, text = s.do(auth.Operator, nil, "GET", "/v1/updates/keys?next=true", nil, 0)
	var next publish.OnlineKeys
	if f.must(json.Unmarshal(text, &next)); publish.ID(next.Snapshot) == publish.ID(online.Snapshot) {
		t.Error("the next keys are the present ones")
	}
	root, targetsKey := aRoot(t, online)
	w, text = s.do(auth.Admin, nil, "POST", "/v1/updates/root", bytes.NewReader(root), int64(len(root)))
	if w.StatusCode != 200 || !strings.Contains(string(text), `"fingerprint":"`) {
		t.Fatalf("%d %s", w.StatusCode, text)
	}

	raw, digest := aBundle(t, 200_000)
	path := "/v1/updates/targets/" + digest
	slow := &slowly{bytes.NewReader(raw), time.NewTicker(20 * time.Millisecond)}
	w, text = s.do(auth.Operator, nil, "PUT", path, slow, int64(len(raw)))
	var put Bundle
	if f.must(json.Unmarshal(text, &put)); w.StatusCode != 200 || put.Digest != digest || put.Published || put.Target != "bundles/caps/1.2.0.slb" {
		t.Fatalf("%d %s", w.StatusCode, text)
	}
	pieces, err := hex.DecodeString(put.Pieces)
	f.must(err)
	sum, err := hex.DecodeString(digest)
	f.must(err)
	targets, err := publish.AddTarget(nil, root, put.Target, put.Size, [32]byte(sum), [32]byte(pieces), time.Now().AddDate(1, 0, 0), targetsKey)
	f.must(err)
	if w, text = s.do(auth.Admin, nil, "POST", "/v1/updates/metadata/targets", bytes.NewReader(targets), int64(len(targets))); w.StatusCode != 200 {
		t.Fatalf("%d %s", w.StatusCode, text)
	}
	list := body[struct{ Bundles []Bundle }](t, f.ask(auth.Viewer, "GET", "/v1/bundles"))
	if len(list.Bundles) != 1 || !list.Bundles[0].Published || list.Bundles[0].Family != "yolov8" {
		t.Errorf("%+v", list)
	}

	s.fetched(root, targets, raw, put)
}

// fetched has a device get what was published, and lets nobody else.
func (s *overTLS) fetched(root, targets, raw []byte, put Bundle) {
	s.Helper()
	t, path := s.TB, "/v1/updates/targets/"+put.Digest
	cert, a := s.enrolled()
	if !bytes.Equal(a.Root, root) {
		t.Error("the device is told another root")
	}
	own := []tls.Certificate{cert}
	w, text := s.do(0, own, "GET", "/v1/updates/metadata/timestamp.json", nil, 0)
	if w.StatusCode != 200 || w.Header.Get("Content-Type") != "application/json" || !json.Valid(text) {
		t.Errorf("%d %s", w.StatusCode, text)
	}
	if w, text = s.do(0, own, "GET", "/v1/updates/metadata/1.targets.json", nil, 0); w.StatusCode != 200 || !bytes.Equal(text, targets) {
		t.Errorf("%d %s", w.StatusCode, text)
	}
	if w, text = s.do(0, own, "GET", "/v1/updates/pieces/"+put.Digest, nil, 0); w.StatusCode != 200 || fmt.Sprintf("%x", sha256.Sum256(text)) != put.Pieces {
		t.Errorf("%d %x", w.StatusCode, text)
	}
	if w, text = s.do(0, own, "GET", path, nil, 0, "Range", "bytes=65536-131071"); w.StatusCode != 206 || !bytes.Equal(text, raw[65536:131072]) ||
		w.Header.Get("Content-Range") != fmt.Sprintf("bytes 65536-131071/%d", len(raw)) {
		t.Errorf("%d %d bytes %v", w.StatusCode, len(text), w.Header)
	}
	if w, _ = s.do(0, own, "GET", path, nil, 0, "Range", "bytes=9999999-"); w.StatusCode != 416 {
		t.Errorf("a range beyond the end: %d", w.StatusCode)
	}
	if w, text = s.do(0, own, "GET", path, nil, 0, "Range", "bytes=1-2", "If-Range", `"`+put.Digest+`"`); w.StatusCode != 206 || !bytes.Equal(text, raw[1:3]) {
		t.Errorf("%d %x", w.StatusCode, text)
	}
	if w, text = s.do(auth.Viewer, nil, "GET", path, nil, 0); w.StatusCode != 200 || !bytes.Equal(text, raw) {
		t.Errorf("%d %d bytes", w.StatusCode, len(text))
	}
	if w, text = s.do(0, own, "HEAD", path, nil, 0); w.StatusCode != 200 || w.ContentLength != int64(len(raw)) || len(text) != 0 {
		t.Errorf("%d %d", w.StatusCode, w.ContentLength)
	}

	// A device that was revoked, and a certificate of nobody's.
	s.must(s.store.Revoke(t.Context(), a.Device, s.store.Now()))
	for name, certs := range map[string][]tls.Certificate{"revoked": own, "a stranger": {s.server.TLS.Certificates[0]}, "nobody": nil} {
		if w, text = s.do(0, certs, "GET", path, nil, 0); w.StatusCode != 401 {
			t.Errorf("%s: %d %.100s", name, w.StatusCode, text)
		}
	}
	if w, text = s.do(0, []tls.Certificate{cert}, "PUT", path, bytes.NewReader(raw), int64(len(raw))); w.StatusCode != 401 {
		t.Errorf("a device puts a bundle: %d %s", w.StatusCode, text)
	}
}

// slowly gives a piece with each tick.
type slowly struct {
	r    io.Reader
	tick *time.Ticker
}

func (s *slowly) Read(b []byte) (int, error) {
	<-s.tick.C
	return s.r.Read(b[:min(len(b), 8<<10)])
}

func aRoot(t testing.TB, online publish.OnlineKeys) (root []byte, targets *publish.Key) {
	t.Helper()
	var keys []*publish.Key
	for range 3 {
		k, err := publish.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	root, err := publish.NewRoot(publish.Roles{
		Root: []*publish.PublicKey{keys[0].Public(), keys[1].Public()}, Targets: keys[2].Public(), Online: online,
	}, time.Now().AddDate(1, 0, 0), keys[0], keys[1])
	if err != nil {
		t.Fatal(err)
	}
	return root, keys[2]
}

// TestUpdatesRefused: what isn't taken is told as a problem with its reason.
func TestUpdatesRefused(t *testing.T) {
	f := newFleet(t)
	root, _ := aRoot(t, f.depot.Keys())
	other, _ := aRoot(t, publish.OnlineKeys{Snapshot: f.depot.Keys().Timestamp, Timestamp: f.depot.Keys().Timestamp})
	raw, digest := aBundle(t, 100)
	none, junk := strings.Repeat("0", 64), strings.Repeat("x", 100_000)
	for name, c := range map[string]struct {
		role         auth.Role
		method, path string
		body         string
		status       int
		word         string
	}{
		"targets before a root":     {auth.Admin, "POST", "/v1/updates/metadata/targets", "{}", 422, "there is no root yet"},
		"no root":                   {auth.Admin, "POST", "/v1/updates/root", "{}", 422, "refuse root.json"},
		"a root with others' keys":  {auth.Admin, "POST", "/v1/updates/root", string(other), 422, "none of this fleet's keys"},
		"an operator's root":        {auth.Operator, "POST", "/v1/updates/root", string(root), 403, "role admin"},
		"nothing":                   {auth.Admin, "POST", "/v1/updates/root", "", 422, "no body"},
		"a large root":              {auth.Admin, "POST", "/v1/updates/root", strings.Repeat(" ", 600_000), 413, "512000"},
		"another bundle":            {auth.Operator, "PUT", "/v1/updates/targets/" + none, string(raw), 422, "its SHA-256 is " + digest},
		"no bundle":                 {auth.Operator, "PUT", "/v1/updates/targets/" + none, junk, 422, "its SHA-256 is"},
		"a file that is no bundle":  {auth.Operator, "PUT", "/v1/updates/targets/" + fmt.Sprintf("%x", sha256.Sum256([]byte(junk))), junk, 422, "it is no bundle"},
		"a viewer's bundle":         {auth.Viewer, "PUT", "/v1/updates/targets/" + digest, string(raw), 403, "role operator"},
		"no digest":                 {auth.Operator, "PUT", "/v1/updates/targets/" + none[1:], string(raw), 422, "sha256"},
		"upper case":                {auth.Operator, "PUT", "/v1/updates/targets/" + strings.Repeat("A", 64), string(raw), 422, "sha256"},
		"a bundle that isn't there": {auth.Viewer, "GET", "/v1/updates/targets/" + none, "", 404, "there is no such file"},
		"pieces that aren't there":  {auth.Viewer, "GET", "/v1/updates/pieces/" + none, "", 404, "there is no such file"},
		"a file that isn't there":   {auth.Viewer, "GET", "/v1/updates/metadata/9.root.json", "", 404, "there is no such file"},
		"a path":                    {auth.Viewer, "GET", "/v1/updates/metadata/..%2Fkeys%2Fsnapshot.key", "", 404, "there is no such file"},
		"a viewer asks for keys":    {auth.Viewer, "GET", "/v1/updates/keys", "", 403, "role operator"},
	} {
		t.Run(name, func(t *testing.T) {
			w := f.ask(c.role, c.method, c.path, c.body)
			p := body[struct{ Detail string }](t, w)
			if strings.Contains(w.Body.String(), os.TempDir()) {
				t.Errorf("it tells where the fleet keeps its files: %s", w.Body)
			}
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.word) || w.Header().Get("Content-Type") != "application/problem+json" || p.Detail == "" {
				t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
			}
		})
	}
	r := httptest.NewRequest("PUT", "http://localhost/v1/updates/targets/"+digest, iotest.OneByteReader(bytes.NewReader(raw)))
	r.Header.Set("Authorization", "Bearer "+f.tokens[auth.Operator])
	r.ContentLength = -1
	if w := f.serve(r); w.Code != http.StatusLengthRequired {
		t.Errorf("without a length: %d %s", w.Code, w.Body)
	}
	r = httptest.NewRequest("PUT", "http://localhost/v1/updates/targets/"+digest, bytes.NewReader(raw))
	r.AddCookie(f.session("admin"))
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if w := f.serve(r); w.Code != http.StatusForbidden {
		t.Errorf("from another site's page: %d %s", w.Code, w.Body)
	}
	if all, err := f.depot.List(); err != nil || len(all) > 0 {
		t.Errorf("%v %v", all, err)
	}
}

// TestLargeBodyByNobody: who isn't let in sends no more than any request may.
func TestLargeBodyByNobody(t *testing.T) {
	f := newFleet(t)
	read := 0
	count := readerFunc(func(b []byte) (int, error) { read += len(b); return len(b), nil })
	for _, role := range []auth.Role{0, auth.Viewer} {
		r := httptest.NewRequest("PUT", "http://localhost/v1/updates/targets/"+strings.Repeat("0", 64), count)
		r.ContentLength = 1 << 30
		if role != 0 {
			r.Header.Set("Authorization", "Bearer "+f.tokens[role])
		}
		if w := f.serve(r); w.Code != 401 && w.Code != 403 || read > 64<<10 {
			t.Errorf("%v: %d, %d bytes were read", role, w.Code, read)
		}
	}
}

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }
