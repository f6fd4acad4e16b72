// Java's own HTTP client by TLS: java Client.java URL TRUSTED VERSION PATH... What it sends to /echo must come back; of
// what it sends to /seen, the digest. Prints how many requests were answered.
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Random;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.TrustManagerFactory;

class Client {
    static SSLContext trusting(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream pem = new ByteArrayInputStream(Files.readAllBytes(Path.of(file)))) {
            store.setCertificateEntry("relay", CertificateFactory.getInstance("X.509").generateCertificate(pem));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        return context;
    }

    public static void main(String[] args) throws Exception {
        SSLParameters parameters = new SSLParameters();
        parameters.setProtocols(new String[] {args[2]});
        HttpClient client = HttpClient.newBuilder().sslContext(trusting(args[1])).sslParameters(parameters).build();
        Random random = new Random(7);
        int[] lengths = {0, 1, 16383, 16384, 16385, 100_000, 3_000_000};
        for (int length : lengths) {
            byte[] body = new byte[length];
            random.nextBytes(body);
            String digest = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(body));
            for (int at = 3; at < args.length; at++) {
                byte[] back = answer(client, args[0] + args[at], body);
                if (!(args[at].equals("/echo") ? Arrays.equals(back, body) : new String(back).contains(digest))) {
                    throw new AssertionError(length + " bytes to " + args[at] + " arrived as others");
                }
            }
        }
        System.out.println("answered " + (args.length - 3) * lengths.length);
    }

    static byte[] answer(HttpClient client, String url, byte[] body) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(url)).POST(BodyPublishers.ofByteArray(body)).build();
        var response = client.send(request, BodyHandlers.ofByteArray());
        if (response.statusCode() != 200) {
            throw new AssertionError(body.length + " bytes: " + response);
        }
        return response.body();
    }
}
