package broker

import (
	"bytes"
	_ "embed" // of the templates
	"errors"
	"fmt"
	"net"
	"path"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	"github.com/sightline-edge/sightline/sync/wire"
)

// The files that Mosquitto makes.
const (
	MosquittoConf = "mosquitto.conf"
	MosquittoACL  = "sightline.acl"
)

//go:embed mosquitto.conf.tmpl
var confText string

//go:embed mosquitto.acl.tmpl
var aclText string

var (
	confTemplate = template.Must(template.New(MosquittoConf).Parse(confText))
	aclTemplate  = template.Must(template.New(MosquittoACL).Parse(aclText))
)

// MosquittoConfig describes a Mosquitto broker for the fleet.
type MosquittoConfig struct {
	// Dir is the absolute path at which the files will lie on the broker's
	// machine.
	Dir string
	// Listen is host:port; an empty host is all addresses.
	Listen string
	// CA, Certificate and Key are PEM files: the fleet's CA, and the broker's own
	// certificate from it with its key. Relative ones are in Dir. If empty they
	// are ca.pem, broker.pem and broker.key.
	CA, Certificate, Key string
	// CRL is a revocation list, PEM, if there is one.
	CRL string
	// Services are the names in the fleet's own clients' certificates.
	Services []string
}

// serviceName is what may stand in the access list without quoting.
var serviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Mosquitto makes the configuration and the access list with which Mosquitto
// keeps the same rules as Broker, by file name. The caller writes them into
// Dir, with the certificates. What Mosquitto can't do: cut a revoked device at
// once.
func Mosquitto(cfg MosquittoConfig) (map[string][]byte, error) {
	v, err := mosquittoValues(cfg)
	if err != nil {
		return nil, fmt.Errorf("configuration of Mosquitto: %w", err)
	}
	files := map[string][]byte{}
	for _, t := range []*template.Template{confTemplate, aclTemplate} {
		var out bytes.Buffer
		if err := t.Execute(&out, v); err != nil {
			return nil, fmt.Errorf("configuration of Mosquitto: %w", err)
		}
		files[t.Name()] = out.Bytes()
	}
	return files, nil
}

type mosquitto struct {
	Host, Port                     string
	CA, Certificate, Key, CRL, ACL string
	Services                       []string
	Root                           string
	Kinds                          []wire.Kind
	MaxPayload, MaxPayloadMB       int
	MaxQueued                      int
}

func mosquittoValues(cfg MosquittoConfig) (*mosquitto, error) {
	if !path.IsAbs(cfg.Dir) {
		return nil, fmt.Errorf("the directory %q isn't an absolute path, and Mosquitto looks for its files from where it was started", cfg.Dir)
	}
	host, port, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen address %q: %w: write it as host:port", cfg.Listen, err)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return nil, fmt.Errorf("listen address %q: the port is a number from 1 to 65535", cfg.Listen)
	}
	if len(cfg.Services) == 0 {
		return nil, errors.New("no service is named, so nobody could read what devices send")
	}
	for _, s := range cfg.Services {
		if !serviceName.MatchString(s) {
			return nil, fmt.Errorf("service %q: a name is of letters, digits, dots, underscores and dashes", s)
		}
	}
	v := &mosquitto{
		Host: host, Port: port, Services: cfg.Services, Root: root, Kinds: wire.UpKinds,
		MaxPayload: MaxPayload, MaxPayloadMB: MaxPayload >> 20, MaxQueued: maxPending,
	}
	for _, f := range []struct {
		to             *string
		name, standard string
	}{
		{&v.CA, cfg.CA, "ca.pem"}, {&v.Certificate, cfg.Certificate, "broker.pem"}, {&v.Key, cfg.Key, "broker.key"},
		{&v.CRL, cfg.CRL, ""}, {&v.ACL, "", MosquittoACL},
	} {
		name := f.name
		if name == "" {
			name = f.standard
		}
		if name != "" && !path.IsAbs(name) {
			name = path.Join(cfg.Dir, name)
		}
		*f.to = name
	}
	for _, s := range []string{v.Host, v.CA, v.Certificate, v.Key, v.CRL, v.ACL} {
		if strings.ContainsAny(s, "\r\n") {
			return nil, fmt.Errorf("%q has a line break", s)
		}
	}
	return v, nil
}
