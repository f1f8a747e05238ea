package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sightline-edge/sightline/fleet/depot"
)

// bodies are the routes that take more than web.Guard lets through, with their
// bounds in bytes. Only who may use the route sends so much.
var bodies = map[string]int64{
	"PUT /v1/updates/targets/{sha256}":  depot.MaxBundle,
	"POST /v1/updates/root":             depot.MaxRoot,
	"POST /v1/updates/metadata/targets": depot.MaxTargets,
}

// standstill is how long a transfer over HTTP may not move, and longest how long
// one that moves may take: few bundles may come at once.
const (
	standstill = 30 * time.Second
	longest    = 2 * time.Hour
)

// errBody is that a request's body didn't come whole.
var errBody = errors.New("the body didn't come")

// upload is a request's body that huma doesn't read.
type upload struct {
	length int64 // bytes; -1 unknown
	most   int64
	from   *http.Request
	to     http.ResponseWriter
}

// Resolve is called by huma with the request.
func (u *upload) Resolve(hc huma.Context) []error {
	u.from, u.to = humago.Unwrap(hc)
	u.length, u.most = u.from.ContentLength, bodies[hc.Operation().Method+" "+hc.Operation().Path]
	return nil
}

// check refuses what says too much of itself, or nothing.
func (u *upload) check() error {
	switch {
	case u.length < 0:
		return huma.NewError(http.StatusLengthRequired, "say how much comes: Content-Length is missing")
	case u.length == 0:
		return huma.Error422UnprocessableEntity("the request has no body")
	case u.length > u.most:
		return huma.NewError(http.StatusRequestEntityTooLarge, fmt.Sprintf("%d bytes are too much, at most %d will do", u.length, u.most))
	}
	return nil
}

// reader reads the body for as long as it moves.
func (u *upload) reader() io.Reader {
	return &movingReader{u.from.Body, http.NewResponseController(u.to), time.Now().Add(longest)}
}

// all is the whole body; check was called before.
func (u *upload) all() ([]byte, error) {
	return io.ReadAll(u.reader())
}

// movingReader puts the connection's deadlines off with each piece: they are
// for requests that are read at once.
type movingReader struct {
	r     io.Reader
	times *http.ResponseController
	last  time.Time
}

func (m *movingReader) Read(b []byte) (int, error) {
	end := time.Now().Add(standstill)
	if end.After(m.last) {
		end = m.last
	}
	_ = m.times.SetReadDeadline(end)                  // only tests' connections have none
	_ = m.times.SetWriteDeadline(end.Add(standstill)) // of the answer after it
	n, err := m.r.Read(b)
	var large *http.MaxBytesError
	if err != nil && err != io.EOF && !errors.As(err, &large) {
		err = fmt.Errorf("%w: %w", errBody, err)
	}
	return n, err
}

// patientWriter writes for as long as it moves.
type patientWriter struct {
	http.ResponseWriter
	times *http.ResponseController
}

func newPatientWriter(w http.ResponseWriter) *patientWriter {
	return &patientWriter{w, http.NewResponseController(w)}
}

func (p *patientWriter) Write(b []byte) (int, error) {
	_ = p.times.SetWriteDeadline(time.Now().Add(standstill)) // only tests' connections have none
	return p.ResponseWriter.Write(b)
}

// answerBytes answers with a small file.
func answerBytes(text []byte, kind string) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		r, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeContent(newPatientWriter(w), r, "", time.Time{}, bytes.NewReader(text))
	}}
}
