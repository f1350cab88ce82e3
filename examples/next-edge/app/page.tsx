export default function Page() {
  return <p>POST /api/payments</p>;
}
