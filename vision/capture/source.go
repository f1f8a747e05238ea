package capture

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/sightline-edge/sightline/vision/picture"
)

// kind says how a source is read.
type kind uint8

const (
	_          kind = iota
	pictureOne      // one picture file
	folder          // every picture of a folder, once
	video           // a recording; through FFmpeg
	watched         // a folder into which pictures come
	program         // raw frames from a program's standard output
	httpCamera      // multipart JPEG over HTTP, or one JPEG at a time
	rtsp            // a network camera; through GStreamer
	device          // /dev/video…; through OpenCV
	genICam         // GigE Vision and USB3 Vision; through Aravis
	pipeline        // a GStreamer pipeline as written
)

// kindNames say for people what a kind of source is.
var kindNames = [...]string{
	pictureOne: "a picture", folder: "a folder", video: "a recording", watched: "a watched folder", program: "exec:",
	httpCamera: "http://", rtsp: "rtsp://", device: "V4L2 devices", genICam: "aravis:", pipeline: "GStreamer pipelines",
}

func listKinds(kinds []kind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, kindNames[k])
	}
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
	return names[0]
}

// live sources never end by themselves, give frames at their own pace and are
// reached again when they are lost.
func (k kind) live() bool { return k >= watched }

// native tells which sources only sightline-capture can read.
func (k kind) native() bool { return k == video || k >= rtsp }

// source is a parsed Config.Source.
type source struct {
	kind kind
	at   string // path, URL, pipeline, command or name
}

// parseSource finds out what a source is. Files are looked at, cameras aren't.
func parseSource(s string) (source, error) {
	switch {
	case strings.TrimSpace(s) == "":
		return source{}, errors.New("source is empty: give a file, a folder, an http:// or rtsp:// address, a /dev/video device, or aravis: for an industrial camera")
	case strings.HasPrefix(s, "exec:"):
		return source{program, strings.TrimSpace(s[len("exec:"):])}, nil
	case s == "aravis" || strings.HasPrefix(s, "aravis:"):
		return source{genICam, strings.TrimSpace(strings.TrimPrefix(s[len("aravis"):], ":"))}, nil
	case strings.HasPrefix(s, "gst:"):
		return source{pipeline, strings.TrimSpace(s[len("gst:"):])}, nil
	case strings.Contains(s, " ! "):
		return source{pipeline, s}, nil
	case strings.Contains(s, "://"):
		return parseURL(s)
	case strings.HasPrefix(s, "/dev/video"), strings.HasPrefix(s, "/dev/v4l"):
		return source{device, s}, nil
	}
	return parseFile(s)
}

func parseURL(s string) (source, error) {
	u, err := url.Parse(s)
	if err != nil {
		var ue *url.Error // its text would show the password
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return source{}, fmt.Errorf("source %s: %w", Redact(s), err)
	}
	if u.Host == "" && u.Scheme != "file" {
		return source{}, fmt.Errorf("source %s: the address has no host", Redact(s))
	}
	switch u.Scheme {
	case "http", "https":
		return source{httpCamera, s}, nil
	case "rtsp", "rtsps":
		return source{rtsp, s}, nil
	case "file":
		return parseFile(u.Path)
	}
	return source{}, fmt.Errorf("source %s: %s:// isn't read; http, https, rtsp and rtsps are", Redact(s), u.Scheme)
}

func parseFile(path string) (source, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return source{}, fmt.Errorf("source %s: no such file or folder", path)
	}
	if err != nil {
		return source{}, fmt.Errorf("source %s: %w", path, bare(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return source{}, fmt.Errorf("source %s: %w", path, bare(err))
	case info.IsDir():
		return source{folder, path}, nil
	case !info.Mode().IsRegular():
		return source{}, fmt.Errorf("source %s: neither a file nor a folder", path)
	case info.Size() == 0:
		return source{}, fmt.Errorf("source %s: the file is empty", path)
	}
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return source{}, fmt.Errorf("source %s: %w", path, bare(err))
	}
	if picture.Known(head[:n]) || pictureName(path) {
		return source{pictureOne, path}, nil
	}
	return source{video, path}, nil
}

// bare drops the operation and the path that the message has already.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// pictureName reports whether a file of a folder is meant to be a picture.
func pictureName(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jpg", ".jpeg", ".png", ".bmp", ".webp":
		return !strings.HasPrefix(filepath.Base(name), ".")
	}
	return false
}

// secrets are the names of query parameters whose values Redact hides.
const secrets = " password pass passwd pwd user-pw token auth key api_key apikey secret "

// Redact hides user names, passwords and tokens of addresses anywhere in a
// text, so that it can be shown and logged.
func Redact(text string) string {
	var out strings.Builder
	for {
		i := strings.Index(text, "://")
		if i < 0 {
			break
		}
		i += len("://")
		out.WriteString(text[:i])
		text = text[i:]
		end := strings.IndexAny(text, " \t\r\n\"'<>|")
		if end < 0 {
			end = len(text)
		}
		out.WriteString(redactAddress(text[:end]))
		text = text[end:]
	}
	out.WriteString(text)
	return redactWords(out.String())
}

// redactAddress works on what follows "://".
func redactAddress(s string) string {
	authority := len(s)
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		authority = i
	}
	if at := strings.LastIndexByte(s[:authority], '@'); at >= 0 {
		s = "***" + s[at:]
	} else if at := strings.LastIndexByte(s, '@'); at > authority && strings.Contains(s[:authority], ":") && !numeric(s[:authority]) {
		s = "***" + s[at:] // a password with an unescaped slash
	}
	q := strings.IndexByte(s, '?')
	if q < 0 {
		return s
	}
	pairs := strings.Split(s[q+1:], "&")
	for i, p := range pairs {
		name, _, has := strings.Cut(p, "=")
		if has && strings.Contains(secrets, " "+strings.ToLower(name)+" ") {
			pairs[i] = name + "=***"
		}
	}
	return s[:q+1] + strings.Join(pairs, "&")
}

// numeric reports whether an authority ends in a port.
func numeric(authority string) bool {
	port := authority[strings.LastIndexByte(authority, ':')+1:]
	return port != "" && strings.Trim(port, "0123456789") == ""
}

// redactWords hides the properties in which a GStreamer pipeline carries them.
func redactWords(s string) string {
	for _, name := range []string{"user-pw=", "user-id=", "proxy-pw="} {
		for from := 0; ; {
			i := strings.Index(s[from:], name)
			if i < 0 {
				break
			}
			i += from + len(name)
			end := i + strings.IndexByte(s[i:]+" ", ' ')
			s = s[:i] + "***" + s[end:]
			from = i + 3
		}
	}
	return s
}

// Stills reports whether a source is a folder of pictures, watched or not, or
// one picture: its frames don't follow each other and have no time.
func Stills(s string) bool {
	src, err := parseSource(s)
	return err == nil && (src.kind == folder || src.kind == pictureOne)
}
