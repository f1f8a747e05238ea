package uplink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// refusals are what brokers say to a device whose certificate they don't take.
// TLS tells the client only by alerts, whose type the library keeps to itself.
var refusals = []struct{ sign, words string }{
	{"remote error: tls: expired certificate", "the broker refuses this device's certificate: it has expired"},
	{"remote error: tls: revoked certificate", "the broker refuses this device's certificate: it is revoked"},
	{"remote error: tls: unknown certificate authority", "the broker doesn't know the authority of this device's certificate"},
	{"remote error: tls: certificate required", "the broker wants a certificate and this device has none: enrol it"},
	{"remote error: tls: bad certificate", "the broker refuses this device's certificate"},
	{"remote error: tls: unsupported certificate", "the broker refuses this device's certificate"},
	{"remote error: tls: unknown certificate", "the broker refuses this device's certificate"},
	{"remote error: tls: access denied", "the broker refuses this device's certificate"},
	{packets.ErrorRefusedNotAuthorised.Error(), "the broker doesn't admit this device: it isn't enrolled there, or was revoked"},
	{packets.ErrorRefusedBadUsernameOrPassword.Error(), "the broker doesn't admit this device: it isn't enrolled there, or was revoked"},
	{packets.ErrorRefusedIDRejected.Error(), "the broker doesn't admit this device's name"},
}

// refused reports whether the error says that the broker doesn't take this
// device's certificate or name, for which a new certificate may help.
func refused(err error) bool {
	for _, r := range refusals {
		if strings.Contains(err.Error(), r.sign) {
			return true
		}
	}
	return false
}

// inWords puts before an error of the connection what a person understands.
func inWords(broker string, err error) error {
	for _, r := range refusals {
		if strings.Contains(err.Error(), r.sign) {
			return fmt.Errorf("%s (%w)", r.words, err)
		}
	}
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		bad       *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &dns):
		return fmt.Errorf("the broker's name %s isn't known to the network (%w)", broker, err)
	case errors.As(err, &authority):
		return fmt.Errorf("the broker %s isn't of the fleet that this device is enrolled in (%w)", broker, err)
	case errors.As(err, &name):
		return fmt.Errorf("the broker's certificate isn't for %s (%w)", broker, err)
	case errors.As(err, &bad):
		return fmt.Errorf("the broker %s shows no valid certificate (%w)", broker, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at the broker's address %s (%w)", broker, err)
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return fmt.Errorf("there is no way to the broker %s (%w)", broker, err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return fmt.Errorf("the broker %s doesn't answer (%w)", broker, err)
	case errors.Is(err, packets.ErrorRefusedServerUnavailable):
		return fmt.Errorf("the broker %s takes nobody now (%w)", broker, err)
	}
	return fmt.Errorf("the connection to the broker %s: %w", broker, err)
}
