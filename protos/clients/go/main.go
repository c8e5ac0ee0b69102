// Command shop asks for a slate, tells of a click on it, and asks again: a complete client, to copy from.
//
// usage: go run . USER
//
// The stubs are made by protoc-gen-go and protoc-gen-go-grpc; ./generate.sh beside this file does it, and says what else
// is needed once.
// Addresses and certificates come from the environment; without certificates it speaks plain text.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	winnow "example.org/shop/winnow/v1"
)

const (
	eventsTime  = 10 * time.Second
	connectTime = 10 * time.Second
)

// The retry policy that protos/clients/service_config.json has; generate.sh copies it here.
//
//go:embed service_config.json
var serviceConfig string

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

// slateTime is what a page can wait for; Winnow leaves out what does not fit into it, and says so.
func slateTime() time.Duration {
	seconds, err := strconv.ParseFloat(setting("WINNOW_SLATE_SECONDS", "0.8"), 64)
	if err != nil {
		log.Fatalf("WINNOW_SLATE_SECONDS: %s", err)
	}
	return time.Duration(seconds * float64(time.Second))
}

func transport() (credentials.TransportCredentials, error) {
	authority, key := os.Getenv("WINNOW_TLS_AUTHORITY_FILE"), os.Getenv("WINNOW_TLS_KEY_FILE")
	certificate := os.Getenv("WINNOW_TLS_CERTIFICATE_FILE")
	if authority == "" || key == "" || certificate == "" {
		return insecure.NewCredentials(), nil
	}
	pem, err := os.ReadFile(authority)
	if err != nil {
		return nil, err
	}
	trusted := x509.NewCertPool()
	if !trusted.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", authority)
	}
	// Read anew for each connection, so that a renewed certificate needs no restart.
	own := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(certificate, key)
		return &pair, err
	}
	return credentials.NewTLS(&tls.Config{RootCAs: trusted, GetClientCertificate: own}), nil
}

// connect opens one connection for the life of the process: it balances over all replicas and repeats what may be
// repeated.
func connect(address string) (*grpc.ClientConn, error) {
	secured, err := transport()
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient(
		address, grpc.WithTransportCredentials(secured), grpc.WithDefaultServiceConfig(serviceConfig),
	)
	if err != nil {
		return nil, err
	}
	// At the start, not in the first customer's time.
	ctx, cancel := context.WithTimeout(context.Background(), connectTime)
	defer cancel()
	connection.Connect()
	for state := connection.GetState(); state != connectivity.Ready; state = connection.GetState() {
		if !connection.WaitForStateChange(ctx, state) {
			connection.Close()
			return nil, fmt.Errorf("%s does not answer within %s", address, connectTime)
		}
	}
	return connection, nil
}

func recommend(front winnow.RecommendationServiceClient, user, watermark string) (*winnow.RecommendResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), slateTime())
	defer cancel()
	return front.Recommend(ctx, &winnow.RecommendRequest{
		Subject:      &winnow.RecommendRequest_UserId{UserId: user},
		Surface:      "shop",
		MinWatermark: watermark,
	})
}

func record(feedback winnow.FeedbackServiceClient, click *winnow.Event) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), eventsTime)
	defer cancel()
	recorded, err := feedback.RecordEvents(ctx, &winnow.RecordEventsRequest{Events: []*winnow.Event{click}})
	if err != nil {
		return "", err
	}
	if refused := recorded.Statuses[0]; refused.Code != 0 {
		return "", fmt.Errorf("the click was refused: %s", refused.Message)
	}
	return recorded.Watermark, nil
}

func itemIDs(slate *winnow.RecommendResponse) []string {
	ids := make([]string, 0, len(slate.Items))
	for _, item := range slate.Items {
		ids = append(ids, item.ItemId)
	}
	return ids
}

func run(user string) error {
	toFront, err := connect(setting("WINNOW_FRONT", "127.0.0.1:50051"))
	if err != nil {
		return err
	}
	defer toFront.Close()
	toFeedback, err := connect(setting("WINNOW_FEEDBACK", "127.0.0.1:50051"))
	if err != nil {
		return err
	}
	defer toFeedback.Close()
	front, feedback := winnow.NewRecommendationServiceClient(toFront), winnow.NewFeedbackServiceClient(toFeedback)
	slate, err := recommend(front, user, "")
	if err != nil {
		return err
	}
	if len(slate.Items) == 0 {
		return errors.New("the slate is empty: is there a catalogue?")
	}
	watermark, err := record(feedback, &winnow.Event{
		EventId:          rand.Text(), // made once, before the first attempt: a repeat is recognised by it
		UserId:           user,
		ItemId:           slate.Items[0].ItemId,
		EventType:        winnow.EventType_EVENT_TYPE_CLICK,
		RecommendationId: slate.RecommendationId, // joins the click to the slate
	})
	if err != nil {
		return err
	}
	// Served from state that includes the click, or told in `degraded` that it is not yet.
	after, err := recommend(front, user, watermark)
	if err != nil {
		return err
	}
	degraded := []string{}
	for _, lost := range after.Header.Degraded {
		degraded = append(degraded, lost.Stage+": "+lost.Reason)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"recommendationId": slate.RecommendationId,
		"slate":            itemIDs(slate),
		"after":            itemIDs(after),
		"degraded":         degraded,
	})
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: go run . USER")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}
