package capture

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"
)

// dialTimeout bounds how long a camera may take to accept a connection.
const dialTimeout = 1500 * time.Millisecond

// mjpegReader reads JPEG pictures from one HTTP response. A goroutine takes
// them off the socket as they come and keeps only the newest, so that a slow
// decoder sees fresh pictures instead of the socket's backlog.
type mjpegReader struct {
	cancel context.CancelFunc
	body   io.ReadCloser
	newest chan jpegPicture // closed after the last one
	err    error            // why it ended; only after newest is closed
	done   chan struct{}
}

// jpegPicture is one encoded picture; err says that it is cut.
type jpegPicture struct {
	data    []byte
	err     error
	mono    int64 // when its last byte came, ns
	skipped uint64
}

func openHTTP(ctx context.Context, o order) (reader, opened, error) {
	r, err := openMJPEG(ctx, o)
	return r, opened{Codec: "mjpeg", Reader: "go"}, err
}

func openMJPEG(ctx context.Context, o order) (*mjpegReader, error) {
	ctx, cancel := context.WithCancel(ctx)
	res, err := get(ctx, o.At, time.Duration(o.Read)*time.Millisecond)
	if err == nil {
		err = checkAnswer(res)
		if err != nil {
			res.Body.Close()
		}
	}
	if err != nil {
		cancel()
		return nil, err
	}
	r := &mjpegReader{cancel: cancel, body: res.Body, newest: make(chan jpegPicture, 1), done: make(chan struct{})}
	go r.pump()
	return r, nil
}

// get asks for the stream, a second time if the camera wants digest access.
func get(ctx context.Context, at string, read time.Duration) (*http.Response, error) {
	t := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &impatient{Conn: c, patience: read}, nil
		},
		TLSHandshakeTimeout: 2 * dialTimeout, ResponseHeaderTimeout: read,
		DisableCompression: true, DisableKeepAlives: true,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1, as cameras speak
	}
	client := &http.Client{Transport: t}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, errors.New("the address can't be asked for")
	}
	user := req.URL.User
	res, err := client.Do(req)
	if err != nil {
		return nil, dialError(err)
	}
	challenge := res.Header.Get("WWW-Authenticate")
	if res.StatusCode != http.StatusUnauthorized || user == nil || !strings.HasPrefix(strings.ToLower(challenge), "digest ") {
		return res, nil
	}
	res.Body.Close()
	password, _ := user.Password()
	answer, err := digestAnswer(challenge, user.Username(), password, http.MethodGet, req.URL.RequestURI())
	if err != nil {
		return nil, err
	}
	req = req.Clone(ctx)
	req.URL.User = nil
	req.Header.Set("Authorization", answer)
	if res, err = client.Do(req); err != nil {
		return nil, dialError(err)
	}
	return res, nil
}

// impatient gives up a read that takes longer than patience.
type impatient struct {
	net.Conn
	patience time.Duration
}

func (c *impatient) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

// dialError says what people need of a network error, without the address,
// which the camera's errors carry already.
func dialError(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var dns *net.DNSError
	var ne net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("connection refused: is the camera on, and the port right?")
	case errors.As(err, &dns):
		return fmt.Errorf("no such host: %s", dns.Name)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return errors.New("the camera doesn't answer: timed out")
	}
	return err
}

// checkAnswer accepts streams and says of anything else what it is.
func checkAnswer(res *http.Response) error {
	switch {
	case res.StatusCode == http.StatusUnauthorized:
		return errors.New("unauthorised (401): give the camera's user and password as http://user:password@host/…, or correct them")
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("the camera answers %s", res.Status)
	}
	full := res.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(full)
	if err != nil { // a malformed boundary, most often; nobody needs it
		kind, _, _ = strings.Cut(strings.ToLower(full), ";")
		kind = strings.TrimSpace(kind)
	}
	switch {
	case strings.HasPrefix(kind, "multipart/"), kind == "", kind == "application/octet-stream",
		kind == "video/x-motion-jpeg", kind == "video/x-mjpeg", kind == "video/mjpeg":
		return nil
	case kind == "image/jpeg":
		return errors.New("the address gives a single picture (image/jpeg), not a stream: use the camera's MJPEG address (multipart/x-mixed-replace)")
	}
	return fmt.Errorf("the address gives %s, not an MJPEG stream (multipart/x-mixed-replace)", kind)
}

// pump moves pictures from the socket to newest.
func (r *mjpegReader) pump() {
	defer close(r.done)
	defer close(r.newest)
	s := newJPEGStream(r.body)
	for {
		data, err := s.next()
		if err != nil && !errors.Is(err, errCutPicture) {
			r.err = streamEnd(err)
			return
		}
		p := jpegPicture{data: data, err: err, mono: monotonic()}
		if err != nil {
			select {
			case r.newest <- p:
			default: // a good one waits, which matters more than the count of bad ones
			}
			continue
		}
		select {
		case old := <-r.newest:
			p.skipped = old.skipped + 1
		default:
		}
		r.newest <- p // the only sender, and the place is free
	}
}

func streamEnd(err error) error {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the camera closed the stream")
	case errors.Is(err, syscall.ECONNRESET):
		return errors.New("the camera reset the connection")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("the camera stopped sending")
	}
	return err
}

// Read decodes the newest picture.
func (r *mjpegReader) Read(room roomFunc) (shot, error) {
	p, ok := <-r.newest
	if !ok {
		return shot{}, r.err
	}
	if p.err != nil {
		return shot{}, errUnreadable{p.err}
	}
	s, err := decodeInto(p.data, room)
	s.Mono, s.skipped = p.mono, p.skipped
	return s, err
}

// Close ends the connection and waits for the pump.
func (r *mjpegReader) Close() {
	r.cancel()
	r.body.Close()
	for range r.newest { // the pump may be about to hand one over
	}
	<-r.done
}
