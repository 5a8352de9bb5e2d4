package gateways

import (
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

func TestCaddy(t *testing.T) {
	program := lookup(t, "caddy", "install caddy")
	s := newStack(t)
	address := testoperator.FreeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	replacements := []string{
		"issuer=default/shop", "issuer=" + s.Namespace + "/shop",
		"https://" + serviceName, "https://" + s.keyturn.HTTPS, "shop.default.svc:8080", s.upstream.address,
		"shop.example {", "http://shop.example:" + port + " {\n\tbind 127.0.0.1", "/etc/caddy/keyturn-ca.crt", s.certificate(),
	}
	if before28(t, program) {
		replacements = append(replacements, "tls_trust_pool file", "tls_trusted_ca_certs")
	}
	configuration := "{\n\tadmin off\n}\n" + documented(t, "Caddy", "caddyfile", replacements...)
	start(t, address, program, "run", "--adapter", "caddyfile", "--config", written(t, "Caddyfile", configuration))
	s.behind(address).prove(traits{patience: 10 * time.Second})
}

// before28 says whether this is a Caddy before 2.8, which has the older name for the certificates that it trusts.
func before28(t *testing.T, program string) bool {
	t.Helper()
	output, err := exec.Command(program, "version").Output()
	if err != nil {
		t.Fatalf("asking Caddy for its version: %v", err)
	}
	t.Logf("Caddy %s", output)
	match := regexp.MustCompile(`^v?2\.(\d+)\.`).FindSubmatch(output)
	if match == nil {
		return false // built from source without a version: newer
	}
	minor, err := strconv.Atoi(string(match[1]))
	if err != nil {
		t.Fatal(err)
	}
	return minor < 8
}
