package capture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"strings"
	"time"
)

// askRTSP asks a camera for its description, to learn in words why it gives
// no video: OpenCV tells nothing. A camera that answers in a way of its own is
// left to OpenCV.
func askRTSP(ctx context.Context, at string) error {
	u, err := url.Parse(at)
	if err != nil {
		return errors.New("the address can't be read")
	}
	if u.Scheme != "rtsp" {
		return nil // TLS is OpenCV's
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "554")
	}
	conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return dialError(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * dialTimeout)); err != nil {
		return err
	}
	user := u.User
	u.User = nil
	describe := func(n int, more string) error {
		_, err := fmt.Fprintf(conn, "DESCRIBE %s RTSP/1.0\r\nCSeq: %d\r\nAccept: application/sdp\r\n%s\r\n", u, n, more)
		return err
	}
	if err := describe(1, ""); err != nil {
		return dialError(err)
	}
	answer := textproto.NewReader(bufio.NewReader(conn))
	line, err := answer.ReadLine()
	if err != nil {
		return rtspSilence(err)
	}
	version, status, _ := strings.Cut(line, " ")
	switch {
	case !strings.HasPrefix(version, "RTSP/"):
		return fmt.Errorf("what answers there doesn't speak RTSP: %.40q", line)
	case strings.HasPrefix(status, "401") && user == nil:
		return errors.New("unauthorised (401): give the camera's user and password as rtsp://user:password@host/…")
	case strings.HasPrefix(status, "404"), strings.HasPrefix(status, "403"), strings.HasPrefix(status, "5"):
		return fmt.Errorf("the camera answers %s: is the path of the stream right?", status)
	}
	return nil
}

func rtspSilence(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the camera closed the connection without an answer")
	}
	return dialError(err)
}
