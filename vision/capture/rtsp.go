package capture

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// askRTSP asks a camera for its description, to learn in words why it gives
// no video: GStreamer's own words tell little. A camera that answers in a way of
// its own is left to GStreamer.
func askRTSP(ctx context.Context, o order) error {
	u, err := url.Parse(o.At)
	if err != nil {
		return errors.New("the address can't be read")
	}
	conn, err := dialRTSP(ctx, u)
	if err != nil || conn == nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(2 * dialTimeout)); err != nil {
		return err
	}
	user := o.access(u)
	u.User = nil
	in := textproto.NewReader(bufio.NewReader(io.LimitReader(conn, maxRTSPAnswer)))
	status, header, err := describe(conn, in, u, "")
	asked := false // for a password, which it was given
	if err == nil && strings.HasPrefix(status, "401") && user != nil {
		var answer string
		if answer, err = rtspAccess(header, user, u.String()); err != nil {
			return err
		}
		asked = true
		status, _, err = describe(conn, in, u, "Authorization: "+answer+"\r\n")
	}
	switch {
	case err != nil:
		return err
	case strings.HasPrefix(status, "401") && user == nil:
		return refusal{"unauthorised (401): give the camera's user and password, in a file of credentials or as rtsp://user:password@host/…"}
	case strings.HasPrefix(status, "401"), strings.HasPrefix(status, "403") && asked:
		return refusal{fmt.Sprintf("unauthorised (%.3s): the camera refuses this user and password", status)}
	case strings.HasPrefix(status, "404"), strings.HasPrefix(status, "403"), strings.HasPrefix(status, "5"):
		return fmt.Errorf("the camera answers %s: is the path of the stream right?", status)
	}
	return nil
}

// maxRTSPAnswer bounds what is read of a camera's answers, bytes.
const maxRTSPAnswer = 128 << 10

// dialRTSP connects as the scheme says. No connection and no error is TLS of a
// kind that only GStreamer may know.
func dialRTSP(ctx context.Context, u *url.URL) (net.Conn, error) {
	plain := &net.Dialer{Timeout: dialTimeout}
	dial, port := plain.DialContext, "554"
	if u.Scheme == "rtsps" {
		dial, port = (&tls.Dialer{NetDialer: plain}).DialContext, "322"
	}
	addr := u.Host
	if u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), port)
	}
	conn, err := dial(ctx, "tcp", addr)
	var unverified *tls.CertificateVerificationError
	var network *net.OpError
	switch {
	case errors.As(err, &unverified):
		return nil, fmt.Errorf("the camera's certificate: %w", unverified.Err)
	case err != nil && u.Scheme == "rtsps" && !(errors.As(err, &network) && network.Op == "dial"):
		return nil, nil
	case err != nil:
		return nil, dialError(err)
	}
	return conn, nil
}

// describe asks once and reads the status and header of the answer.
func describe(conn net.Conn, in *textproto.Reader, u *url.URL, more string) (string, textproto.MIMEHeader, error) {
	if _, err := fmt.Fprintf(conn, "DESCRIBE %s RTSP/1.0\r\nCSeq: 1\r\nAccept: application/sdp\r\n%s\r\n", u, more); err != nil {
		return "", nil, dialError(err)
	}
	line, err := in.ReadLine()
	if err != nil {
		return "", nil, rtspSilence(err)
	}
	version, status, _ := strings.Cut(line, " ")
	if !strings.HasPrefix(version, "RTSP/") {
		return "", nil, fmt.Errorf("what answers there doesn't speak RTSP: %.40q", line)
	}
	header, err := in.ReadMIMEHeader()
	if err != nil {
		return "", nil, rtspSilence(err)
	}
	if n, err := strconv.ParseUint(header.Get("Content-Length"), 10, 16); err == nil {
		if _, err := in.R.Discard(int(n)); err != nil {
			return "", nil, rtspSilence(err)
		}
	}
	return status, header, nil
}

// rtspAccess answers the camera's challenge, Digest rather than Basic.
func rtspAccess(header textproto.MIMEHeader, user *url.Userinfo, uri string) (string, error) {
	password, _ := user.Password()
	for _, c := range header.Values("WWW-Authenticate") {
		if len(c) > len("digest ") && strings.EqualFold(c[:len("digest ")], "digest ") {
			return digestAnswer(c, user.Username(), password, "DESCRIBE", uri)
		}
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)), nil
}

func rtspSilence(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the camera closed the connection without an answer")
	}
	return dialError(err)
}
