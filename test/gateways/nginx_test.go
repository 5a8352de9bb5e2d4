package gateways

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keyturn/keyturn/internal/testenv/testoperator"
)

func TestNginx(t *testing.T) {
	program := lookup(t, "nginx", "install nginx with ngx_http_auth_request_module, such as nginx-light of Debian")
	s := newStack(t)
	address := testoperator.FreeAddress(t)
	documented := documented(t, "nginx", "nginx",
		serviceName+":443", s.keyturn.HTTPS, "shop.default.svc:8080", s.upstream.address, "listen 8080", "listen "+address,
		"/etc/nginx/keyturn-ca.crt", s.certificate(), "issuer=default/shop", "issuer="+s.Namespace+"/shop")
	scratch := t.TempDir()
	// What the packages of nginx have around such a server, with everything that it writes in a folder of the test.
	// As whoever runs the tests, also where that is root: it could not write there as nobody.
	lines := []string{"daemon off;", "user root root;", "pid " + filepath.Join(scratch, "pid") + ";", "error_log stderr;", "events {}", "http {", "access_log off;"}
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		lines = append(lines, kind+"_temp_path "+filepath.Join(scratch, kind)+";")
	}
	configuration := strings.Join(append(lines, documented, "}", ""), "\n")
	start(t, address, program, "-e", "stderr", "-c", written(t, "nginx.conf", configuration))
	s.behind(address).prove(traits{noScopeChallenge: true, patience: 10 * time.Second})
}
