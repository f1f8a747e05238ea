package capture

import (
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strings"
)

// challenge is one way of access that a camera offers (RFC 9110 section 11.6.1).
type challenge struct {
	scheme string // lower case
	params map[string]string
}

// challenges reads the WWW-Authenticate headers, each of which may hold several.
func challenges(h http.Header) []challenge {
	var all []challenge
	for _, v := range h.Values("WWW-Authenticate") {
		for v != "" {
			v = strings.TrimLeft(v, " \t,")
			n := strings.IndexAny(v, " \t,=\"")
			if n < 0 {
				n = len(v)
			}
			token := v[:n]
			if rest := strings.TrimLeft(v[n:], " \t"); len(all) > 0 && strings.HasPrefix(rest, "=") {
				var value string
				value, v = digestValue(strings.TrimLeft(rest[1:], " \t"))
				all[len(all)-1].params[strings.ToLower(token)] = value
				continue
			}
			if token == "" {
				break // it is no challenge
			}
			all = append(all, challenge{strings.ToLower(token), map[string]string{}})
			v = v[n:]
		}
	}
	return all
}

// digestValue reads a token or a quoted string, and gives what follows it.
func digestValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ",")
		return strings.TrimSpace(value), rest
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:]
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}

// digest answers a camera's Digest challenge (RFC 7616 section 3.4) request
// after request, until the camera wants another nonce. MD5, which is what
// cameras ask for, and SHA-256 are known, with qop auth or none.
type digest struct {
	params map[string]string
	user   string
	ha1    string
	sess   bool
	hash   func() hash.Hash
	cnonce string
	count  uint32 // answers so far with this nonce
}

func newDigest(params map[string]string, user, password string) (*digest, error) {
	d := &digest{params: params, user: user, cnonce: rand.Text()}
	name := strings.ToUpper(params["algorithm"])
	name, d.sess = strings.CutSuffix(name, "-SESS")
	switch name {
	case "", "MD5":
		d.hash = md5.New
	case "SHA-256":
		d.hash = sha256.New
	default:
		return nil, fmt.Errorf("the camera asks for digest access with %.40q: MD5 and SHA-256 are known here", params["algorithm"])
	}
	if strings.ContainsAny(user+params["realm"]+params["nonce"]+params["opaque"], "\"\r\n\\") {
		return nil, errors.New("the camera's digest challenge or the user name holds a quote, a backslash or a line end")
	}
	if qop := params["qop"]; qop != "" && !strings.Contains(","+strings.ReplaceAll(qop, " ", "")+",", ",auth,") {
		return nil, fmt.Errorf("the camera asks for digest quality %.40q: auth is known here", qop)
	}
	d.ha1 = d.sum(user, params["realm"], password)
	if d.sess {
		d.ha1 = d.sum(d.ha1, params["nonce"], d.cnonce)
	}
	return d, nil
}

func (d *digest) sum(parts ...string) string {
	h := d.hash()
	h.Write([]byte(strings.Join(parts, ":")))
	return hex.EncodeToString(h.Sum(nil))
}

// answer is the Authorization header for one request.
func (d *digest) answer(method, uri string) string {
	ha2 := d.sum(method, uri)
	nonce := d.params["nonce"]
	out := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s"`, d.user, d.params["realm"], nonce, uri)
	if d.params["qop"] != "" {
		d.count++
		nc := fmt.Sprintf("%08x", d.count)
		out += fmt.Sprintf(`, qop=auth, nc=%s, cnonce="%s", response="%s"`, nc, d.cnonce, d.sum(d.ha1, nonce, nc, d.cnonce, "auth", ha2))
	} else {
		out += fmt.Sprintf(`, response="%s"`, d.sum(d.ha1, nonce, ha2))
		if d.sess {
			out += fmt.Sprintf(`, cnonce="%s"`, d.cnonce)
		}
	}
	if a := d.params["algorithm"]; a != "" {
		out += ", algorithm=" + a
	}
	if o := d.params["opaque"]; o != "" {
		out += fmt.Sprintf(`, opaque="%s"`, o)
	}
	return out
}

// digestAnswer answers one Digest challenge once.
func digestAnswer(header, user, password, method, uri string) (string, error) {
	for _, c := range challenges(http.Header{"Www-Authenticate": {header}}) {
		if c.scheme == "digest" {
			d, err := newDigest(c.params, user, password)
			if err != nil {
				return "", err
			}
			return d.answer(method, uri), nil
		}
	}
	return "", errors.New("the camera asks for no digest access")
}
