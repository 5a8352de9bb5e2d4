package gateways

import (
	"errors"
	"net/http"
	"testing"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

func TestTraefik(t *testing.T) {
	program := lookup(t, "traefik", "install Traefik 3")
	s := newStack(t)
	address := testoperator.FreeAddress(t)
	configuration := documented(t, "Traefik", "yaml",
		"https://"+serviceName, "https://"+s.keyturn.HTTPS, "http://shop.default.svc:8080", "http://"+s.upstream.address,
		"/etc/traefik/keyturn-ca.crt", s.certificate(), "issuer=default/shop", "issuer="+s.Namespace+"/shop")
	start(t, address, program, "--entryPoints.web.address="+address, "--global.checkNewVersion=false",
		"--global.sendAnonymousUsage=false", "--providers.file.filename="+written(t, "keyturn.yaml", configuration))
	g := s.behind(address)
	testoperator.Eventually(t, "Traefik has read its routers", func() error {
		if got := g.ask(http.MethodGet, "/orders", "", nil, ""); got.status == http.StatusNotFound {
			return errors.New(got.body)
		}
		return nil
	})
	// It waits half a minute for a Keyturn that hangs, which cannot be changed.
	g.prove(traits{})
}
