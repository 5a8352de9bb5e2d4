// Command browser shows a browser that stays logged in with Keyturn: a page, its API, and the gateway in front of both.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/keyturn/keyturn/examples/browser/app"
)

// options are the flags.
type options struct {
	listen, keyturn, keyturnCA, issuerPath, audience, certificate, key string
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "localhost:8444", "the address to listen on")
	flag.StringVar(&o.keyturn, "keyturn", "https://localhost:9443", "where Keyturn listens")
	flag.StringVar(&o.keyturnCA, "keyturn-ca", "", "the authority of Keyturn's certificate (default: the system's)")
	flag.StringVar(&o.issuerPath, "issuer-path", "", "the path of the issuer's URL, such as /shop (default: none)")
	flag.StringVar(&o.audience, "audience", "", "the audience of the API's tokens (default: what the issuer requires)")
	flag.StringVar(&o.certificate, "tls-cert", "", "the certificate of this server, in PEM (default: self-signed)")
	flag.StringVar(&o.key, "tls-key", "", "the key of the certificate, in PEM")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, o); err != nil {
		log.Fatal(err) //nolint:gocritic // The process ends, and its signal handler with it.
	}
}

// serve serves until the context ends.
func serve(ctx context.Context, o options) error {
	handler, err := newHandler(o)
	if err != nil {
		return err
	}
	certificate, err := loadCertificate(o)
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr: o.listen, Handler: handler,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}},
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 32 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServeTLS("", "") }()
	log.Printf("open https://%s", o.listen)
	select {
	case err := <-ended:
		return fmt.Errorf("listening on %s: %w", o.listen, err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(grace) //nolint:contextcheck // The context that asks for the end has ended.
}

func newHandler(o options) (http.Handler, error) {
	keyturn, err := url.Parse(o.keyturn)
	if err != nil {
		return nil, fmt.Errorf("-keyturn: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 10 * time.Second
	if o.keyturnCA != "" {
		pem, err := os.ReadFile(o.keyturnCA)
		if err != nil {
			return nil, fmt.Errorf("-keyturn-ca: %w", err)
		}
		trusted := x509.NewCertPool()
		if !trusted.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-keyturn-ca: %s has no certificate in PEM", o.keyturnCA)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: trusted}
	}
	return app.New(app.Options{Keyturn: keyturn, Transport: transport, IssuerPath: o.issuerPath, Audience: o.audience})
}

// loadCertificate reads the certificate, or makes one.
func loadCertificate(o options) (tls.Certificate, error) {
	if o.certificate == "" && o.key == "" {
		host, _, err := net.SplitHostPort(o.listen)
		if err != nil {
			return tls.Certificate{}, fmt.Errorf("-listen: %w", err)
		}
		return selfSigned(host, time.Now())
	}
	certificate, err := tls.LoadX509KeyPair(o.certificate, o.key)
	if err != nil {
		return certificate, errors.Join(errors.New("set both -tls-cert and -tls-key, or neither"), err)
	}
	return certificate, nil
}
