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

// Bounds of what an HTTP camera may take or send.
const (
	dialTimeout = 1500 * time.Millisecond // to accept a connection
	maxHeaders  = 64 << 10                // bytes of one answer
	maxHops     = 8                       // answers on the way to a picture: redirects and challenges
)

// openHTTP asks the address once and goes by what it answers: a stream of
// pictures, or one, which is then fetched again and again.
func openHTTP(ctx context.Context, o order) (reader, opened, error) {
	s, err := newSite(o)
	if err != nil {
		return nil, opened{}, err
	}
	asked, cancel := context.WithCancel(ctx)
	slow := time.AfterFunc(2*s.wait, cancel)
	res, err := s.ask(asked, nil)
	stream := false
	if err == nil {
		if stream, err = checkAnswer(res); err != nil {
			res.Body.Close()
		}
	}
	if !slow.Stop() && ctx.Err() == nil {
		err = errors.New("the camera doesn't answer: timed out")
		if res != nil {
			res.Body.Close()
		}
	}
	if err != nil {
		cancel()
		return nil, opened{}, err
	}
	if stream {
		return newMJPEG(asked, cancel, res, s.wait), opened{Codec: "mjpeg", Reader: "go"}, nil
	}
	r := newSnapshot(ctx, s, o.Options.Rate, answered{res, cancel, monotonic()})
	return r, opened{Codec: "snapshot", Reader: "go", Rate: float64(time.Second) / float64(r.period)}, nil
}

// site is an HTTP camera: how it is reached, and what it wants to be told.
type site struct {
	client *http.Client
	at     *url.URL      // without user and password
	user   *url.Userinfo // nil if none is known
	wait   time.Duration // longest for an answer

	basic  bool    // it has asked for Basic access
	digest *digest // it has asked for Digest access
}

func newSite(o order) (*site, error) {
	at, err := url.Parse(o.At)
	if err != nil {
		return nil, errors.New("the address can't be read") // the error would show the password
	}
	s := &site{at: at, user: o.access(at), wait: o.read()}
	at.User = nil
	s.client = &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout: 2 * dialTimeout, ResponseHeaderTimeout: s.wait, MaxResponseHeaderBytes: maxHeaders,
			DisableCompression: true,
			TLSNextProto:       map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/1.1, as cameras speak
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

// ask fetches the address, along redirects, with the access that is asked for.
// The password goes to the host of the address alone, and not before that asks
// for it.
func (s *site) ask(ctx context.Context, header http.Header) (*http.Response, error) {
	at, own, answered := s.at, true, 0
	for range maxHops {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return nil, errors.New("the address can't be asked for")
		}
		for name, v := range header {
			req.Header[name] = v
		}
		sent := own && s.authorise(req)
		res, err := s.client.Do(req)
		if err != nil {
			return nil, dialError(err)
		}
		switch res.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			drop(res)
			if at, err = follow(at, res.Header.Get("Location")); err != nil {
				return nil, err
			}
			own = own && sameHost(s.at, at)
		case http.StatusUnauthorized:
			wrong := 0
			if sent {
				wrong = answered
			}
			if err := s.learn(challenges(res.Header), at, own, wrong); err != nil {
				res.Body.Close()
				return nil, err
			}
			drop(res)
			answered++
		case http.StatusForbidden:
			res.Body.Close()
			if sent {
				return nil, refusal{"forbidden (403): the camera refuses this user and password: correct the credentials setting, or the user's rights in the camera"}
			}
			return nil, errors.New("the camera answers 403 Forbidden, without asking for a user and password: is this device allowed in the camera's settings?")
		default:
			return res, nil
		}
	}
	return nil, fmt.Errorf("the camera sends us on and on: given up after %d answers", maxHops)
}

// authorise adds the access that the camera has asked for before.
func (s *site) authorise(req *http.Request) bool {
	password, _ := s.user.Password()
	switch {
	case s.digest != nil:
		req.Header.Set("Authorization", s.digest.answer(req.Method, req.URL.RequestURI()))
	case s.basic:
		req.SetBasicAuth(s.user.Username(), password)
	default:
		return false
	}
	return true
}

// learn notes the access that is asked for, Digest rather than Basic. wrong is
// how many times what was asked for in answer to this request has been sent
// already: once may have been with a nonce that had just become stale, which a
// camera that says so each time would have us try until it locks the account.
func (s *site) learn(offers []challenge, at *url.URL, own bool, wrong int) error {
	switch {
	case !own:
		return refusal{fmt.Sprintf("the camera sends us on to %s, which asks for a password (401): give that address as the source, if it is the camera's", at.Host)}
	case s.user == nil:
		return refusal{"unauthorised (401): the camera asks for a user and password: name a file with user:password in the setting credentials"}
	}
	stale, basic := false, len(offers) == 0 // some ask without saying for what
	var fresh *digest
	var unknown error
	for _, o := range offers {
		switch o.scheme {
		case "basic":
			basic = true
		case "digest":
			stale = stale || strings.EqualFold(o.params["stale"], "true")
			password, _ := s.user.Password()
			d, err := newDigest(o.params, s.user.Username(), password)
			if err != nil {
				unknown = err
			} else if fresh == nil {
				fresh = d
			}
		}
	}
	switch {
	case wrong > 1, wrong > 0 && !stale:
		return refusal{"unauthorised (401): the camera refuses this user and password: correct the file that the setting credentials names"}
	case fresh != nil:
		s.digest, s.basic = fresh, false
	case unknown != nil && !basic:
		return unknown
	case basic:
		s.digest, s.basic = nil, true
	default:
		return errors.New("unauthorised (401): the camera asks for access of a kind that isn't known here: Basic and Digest are")
	}
	return nil
}

// drop ends an answer, so that its connection can be used again if it is short.
func drop(res *http.Response) {
	if n := res.ContentLength; n > 0 && n <= maxHeaders {
		_, _ = io.CopyN(io.Discard, res.Body, n) // otherwise the connection is lost, and made again
	}
	res.Body.Close()
}

// follow is where a redirect leads, without any password that it carries.
func follow(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || location == "" || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return nil, errors.New("the camera sends us on to an address that can't be read")
	}
	to.User = nil
	return to, nil
}

// sameHost tells whether the password may go along: to the same host and port,
// or to the same host by TLS.
func sameHost(a, b *url.URL) bool {
	if !strings.EqualFold(a.Hostname(), b.Hostname()) {
		return false
	}
	return a.Scheme == b.Scheme && a.Port() == b.Port() || a.Scheme == "http" && b.Scheme == "https"
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

// checkAnswer tells a stream of pictures from one picture, and says of anything
// else what it is.
func checkAnswer(res *http.Response) (stream bool, err error) {
	if res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("the camera answers %.80q", res.Status)
	}
	if e := res.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return false, fmt.Errorf("the camera packs its answer as %.40q, which nobody asked for", e)
	}
	full := res.Header.Get("Content-Type")
	kind, _, err := mime.ParseMediaType(full)
	if err != nil { // a malformed boundary, most often; nobody needs it
		kind, _, _ = strings.Cut(strings.ToLower(full), ";")
		kind = strings.TrimSpace(kind)
	}
	switch {
	case strings.HasPrefix(kind, "image/"):
		return false, nil
	case kind == "", kind == "application/octet-stream":
		return res.ContentLength <= 0, nil // a stream has no length
	case strings.HasPrefix(kind, "multipart/"),
		kind == "video/x-motion-jpeg", kind == "video/x-mjpeg", kind == "video/mjpeg":
		return true, nil
	}
	return false, fmt.Errorf("the address gives %.80s, not an MJPEG stream (multipart/x-mixed-replace) and not a picture (image/jpeg)", kind)
}
