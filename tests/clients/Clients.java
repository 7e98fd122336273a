// Java's HttpClient and HttpURLConnection. What the cases are, and what each script is given: tests/all/matrix/mod.rs.
import java.io.BufferedReader;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.HttpURLConnection;
import java.net.InetSocketAddress;
import java.net.Proxy;
import java.net.ProxySelector;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

final class Clients {
    private static final URI URL = URI.create(System.getenv("URL"));
    private static final Path IN = Path.of(System.getenv("IN"));
    private static final Path OUT = Path.of(System.getenv("OUT"));

    public static void main(String[] arguments) throws Exception {
        String kind = arguments[1];
        try {
            if (arguments[0].equals("HttpClient")) httpClient(kind);
            else httpUrlConnection(kind);
        } catch (IllegalArgumentException error) {
            System.out.println("takes its brackets for a part of a name");
            System.exit(kind.equals("literal") ? 77 : 1);
        } catch (Exception error) {
            System.err.println(error);
            System.exit(1);
        }
    }

    private static InetSocketAddress proxy() {
        URI proxy = URI.create(System.getenv("PROXY"));
        return new InetSocketAddress(proxy.getHost(), proxy.getPort());
    }

    private static SSLContext trust() throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (InputStream authority = Files.newInputStream(Path.of(System.getenv("CA")))) {
            store.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(authority));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        return context;
    }

    private static void isImpossible(String why) {
        System.out.println(why);
        System.exit(77);
    }

    private static void print(InputStream stream) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(stream));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) System.out.println(line);
    }

    private static void httpClient(String kind) throws Exception {
        HttpClient.Version version = kind.equals("http2") ? HttpClient.Version.HTTP_2 : HttpClient.Version.HTTP_1_1;
        HttpClient client =
                HttpClient.newBuilder().version(version).proxy(ProxySelector.of(proxy())).sslContext(trust()).build();
        if (kind.equals("websocket")) {
            echo(client);
            return;
        }
        HttpRequest get = HttpRequest.newBuilder(URL).build();
        switch (kind) {
            case "up" -> {
                HttpRequest put = HttpRequest.newBuilder(URL).PUT(HttpRequest.BodyPublishers.ofFile(IN)).build();
                print(client.send(put, BodyHandlers.ofInputStream()).body());
            }
            case "events" -> print(client.send(get, BodyHandlers.ofInputStream()).body());
            case "keep-alive" -> {
                client.send(get, BodyHandlers.ofFile(OUT));
                client.send(get, BodyHandlers.ofFile(OUT));
            }
            default -> client.send(get, BodyHandlers.ofFile(OUT));
        }
    }

    private static void echo(HttpClient client) throws Exception {
        CompletableFuture<String> said = new CompletableFuture<>();
        WebSocket.Listener listener = new WebSocket.Listener() {
            @Override
            public CompletionStage<?> onText(WebSocket socket, CharSequence text, boolean last) {
                said.complete(text.toString());
                return null;
            }

            @Override
            public void onError(WebSocket socket, Throwable error) {
                said.completeExceptionally(error);
            }
        };
        WebSocket socket = client.newWebSocketBuilder().buildAsync(URL, listener).get();
        socket.sendText("over a websocket", true).get();
        System.out.println(said.get());
        socket.abort();
    }

    private static HttpURLConnection open() throws Exception {
        HttpsURLConnection connection =
                (HttpsURLConnection) URL.toURL().openConnection(new Proxy(Proxy.Type.HTTP, proxy()));
        connection.setSSLSocketFactory(trust().getSocketFactory());
        return connection;
    }

    private static void httpUrlConnection(String kind) throws Exception {
        switch (kind) {
            case "http2" -> isImpossible("HTTP/1.1 alone");
            case "websocket" -> isImpossible("no WebSocket");
            case "events" -> print(open().getInputStream());
            case "up" -> {
                HttpURLConnection put = open();
                put.setRequestMethod("PUT");
                put.setDoOutput(true);
                put.setFixedLengthStreamingMode(Files.size(IN));
                Files.copy(IN, put.getOutputStream());
                print(put.getInputStream());
            }
            case "keep-alive" -> {
                HttpsURLConnection.setDefaultSSLSocketFactory(trust().getSocketFactory());
                for (int time = 0; time < 2; time += 1) {
                    Files.write(OUT, URL.toURL().openConnection(new Proxy(Proxy.Type.HTTP, proxy())).getInputStream().readAllBytes());
                }
            }
            default -> Files.write(OUT, open().getInputStream().readAllBytes());
        }
    }
}
