/** The first page, by what the reader may do: the platform, a tenant, one's own work, or the money. */
import { useSession } from "@/lib/session";
import { DeveloperHome } from "./DeveloperHome";
import { Overview } from "./Overview";

export default function HomePage() {
  return useSession().home === "developer" ? <DeveloperHome /> : <Overview />;
}
